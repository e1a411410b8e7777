package daemon

import (
	"fmt"
	"strings"
	"time"

	"tidemark/internal/control"
	"tidemark/internal/progress"
	"tidemark/internal/rpo"
	"tidemark/internal/sink"
	"tidemark/internal/source"
)

// stream is what capture knows of the source, for rpo.
func (s *Service) stream() rpo.Stream {
	st := s.capture.State()
	return rpo.Stream{Connected: st.Connected, Confirmed: st.Confirmed, Offset: st.Offset, WALEnd: st.WALEnd}
}

// State is where everything stands now.
func (s *Service) State() control.State {
	standings := s.monitor.Now(time.Now())
	out := control.State{
		Version: s.opts.Version, Started: s.started, Source: s.sourceState(), Journal: s.journalState(),
	}
	for _, c := range standings {
		out.Copies = append(out.Copies, s.copyState(c))
	}
	out.Reasons = s.reasons(standings)
	out.Ready = len(out.Reasons) == 0
	return out
}

func (s *Service) sourceState() control.Source {
	st, beat := s.capture.State(), s.heartbeat.Status()
	out := control.Source{
		SystemID: s.identity.SystemID, Timeline: s.identity.Timeline, Database: s.identity.Database,
		ServerVersion: s.identity.ServerVersion.String(), Connected: st.Connected, Received: st.Received, WALEnd: st.WALEnd,
		ClockOffset: st.Offset.Seconds(), Reason: s.sourceReason(),
		Slot: control.Slot{
			Name: s.cfg.Source.Slot, Active: beat.Slot.Active, RetainedBytes: beat.Slot.Retained, SafeBytes: beat.Slot.Safe,
		},
	}
	if !st.Confirmed.IsZero() {
		out.Confirmed = st.Confirmed.Time()
	}
	return out
}

func (s *Service) sourceReason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch st := s.capture.State(); {
	case s.refused != nil:
		return s.refused.Error()
	case st.Full:
		return "the journal is full: capture waits, and the primary keeps its WAL"
	case !st.Connected:
		return "connecting again"
	}
	return ""
}

func (s *Service) journalState() control.Journal {
	durable, _ := s.journal.Durable()
	return control.Journal{
		Oldest: s.journal.Oldest(), Durable: durable, Bytes: s.journal.Bytes(), Segments: uint32(len(s.journal.Segments())),
	}
}

func (s *Service) copyState(c rpo.Standing) control.Copy {
	out := control.Copy{
		Name: c.Name, Domain: c.Domain, Tier: c.Tier, TargetSeconds: c.Target.Seconds(), LagSeconds: -1, LagBytes: c.Bytes,
		Position: c.Position, Status: string(c.Level), State: string(sink.Running),
	}
	if c.Known {
		out.LagSeconds = c.Lag.Seconds()
	}
	if !c.Commit.IsZero() {
		out.CommitTime = c.Commit.Time()
	}
	if c.Name == progress.Journal {
		return out
	}
	for _, r := range s.runners {
		if st := r.State(); st.Name == c.Name {
			out.State, out.Reason = string(st.Phase), st.Reason
		}
	}
	return out
}

// reasons say why the service is not ready, one line each: a stage that stands still, a copy behind its target, a
// slot in danger.
func (s *Service) reasons(standings []rpo.Standing) []string {
	var out []string
	if reason := s.sourceReason(); reason != "" {
		out = append(out, "source: "+reason)
	}
	for _, r := range s.runners {
		if st := r.State(); st.Phase == sink.Stopped || st.Phase == sink.Waiting {
			out = append(out, fmt.Sprintf("copy %s is %s: %s", st.Name, st.Phase, oneLine(st.Reason)))
		}
	}
	for _, c := range standings {
		if c.Level == rpo.Breached {
			out = append(out, rpo.Reason(c.Name, c.Exposure, c.Tier, c.Target))
		}
	}
	return append(out, s.slotReasons(s.heartbeat.Status())...)
}

func (s *Service) slotReasons(beat source.Status) []string {
	budget := int64(s.cfg.Source.WALBudget)
	if budget > 0 && beat.Slot.Retained > budget {
		return []string{fmt.Sprintf("slot %s keeps %d bytes of WAL on the primary, above source.wal_budget", s.cfg.Source.Slot, beat.Slot.Retained)}
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
