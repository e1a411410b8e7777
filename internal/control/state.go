package control

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/internal/position"
	controlv1 "tidemark/proto/tidemark/control/v1"
)

// State is where everything stands at one moment. JSON field names are those of `status --json`.
type State struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Ready   bool      `json:"ready"`
	// Reasons say why not ready, one line each.
	Reasons []string `json:"reasons"`
	Source  Source   `json:"source"`
	Journal Journal  `json:"journal"`
	Copies  []Copy   `json:"copies"`
}

// Source is the primary and our slot on it.
type Source struct {
	SystemID      string       `json:"system_id"`
	Timeline      uint32       `json:"timeline"`
	Database      string       `json:"database"`
	ServerVersion string       `json:"server_version"`
	Connected     bool         `json:"connected"`
	Reason        string       `json:"reason,omitempty"`
	Received      position.LSN `json:"received"`
	WALEnd        position.LSN `json:"wal_end"`
	Confirmed     time.Time    `json:"confirmed"`
	ClockOffset   float64      `json:"clock_offset_seconds"`
	Slot          Slot         `json:"slot"`
}

// Slot is the replication slot; SafeBytes is -1 without a limit.
type Slot struct {
	Name          string `json:"name"`
	Active        bool   `json:"active"`
	RetainedBytes int64  `json:"retained_bytes"`
	SafeBytes     int64  `json:"safe_bytes"`
}

// Journal is the local log.
type Journal struct {
	Oldest   position.LSN `json:"oldest"`
	Durable  position.LSN `json:"durable"`
	Bytes    int64        `json:"bytes"`
	Segments uint32       `json:"segments"`
}

// Copy is one copy of the data; LagSeconds is -1 while nothing is known.
type Copy struct {
	Name          string       `json:"name"`
	Domain        string       `json:"domain"`
	Tier          int          `json:"tier"`
	TargetSeconds float64      `json:"target_seconds"`
	LagSeconds    float64      `json:"lag_seconds"`
	LagBytes      int64        `json:"lag_bytes"`
	Position      position.LSN `json:"position"`
	CommitTime    time.Time    `json:"commit_time"`
	Status        string       `json:"status"`
	State         string       `json:"state"`
	Reason        string       `json:"reason,omitempty"`
}

// Breached reports whether any copy is.
func (s State) Breached() bool {
	for _, c := range s.Copies {
		if c.Status == "breached" {
			return true
		}
	}
	return false
}

func (s State) proto() *controlv1.Status {
	out := &controlv1.Status{
		Version: s.Version, Started: timestamppb.New(s.Started), Ready: s.Ready, Reasons: s.Reasons,
		Source: &controlv1.Source{
			SystemId: s.Source.SystemID, Timeline: s.Source.Timeline, Database: s.Source.Database,
			ServerVersion: s.Source.ServerVersion, Connected: s.Source.Connected, Reason: s.Source.Reason,
			Received: s.Source.Received.String(), WalEnd: s.Source.WALEnd.String(), Confirmed: stamp(s.Source.Confirmed),
			ClockOffsetSeconds: s.Source.ClockOffset,
			Slot: &controlv1.Slot{
				Name: s.Source.Slot.Name, Active: s.Source.Slot.Active,
				RetainedBytes: s.Source.Slot.RetainedBytes, SafeBytes: s.Source.Slot.SafeBytes,
			},
		},
		Journal: &controlv1.Journal{
			Oldest: s.Journal.Oldest.String(), Durable: s.Journal.Durable.String(),
			Bytes: s.Journal.Bytes, Segments: s.Journal.Segments,
		},
	}
	for _, c := range s.Copies {
		out.Copies = append(out.Copies, &controlv1.Copy{
			Name: c.Name, Domain: c.Domain, Tier: uint32(c.Tier), TargetSeconds: c.TargetSeconds,
			LagSeconds: c.LagSeconds, LagBytes: c.LagBytes, Position: c.Position.String(), CommitTime: stamp(c.CommitTime),
			Status: c.Status, State: c.State, Reason: c.Reason,
		})
	}
	return out
}

func fromProto(p *controlv1.Status) (State, error) {
	var err error
	lsn := func(text string) position.LSN {
		l, e := position.ParseLSN(text)
		if e != nil && err == nil {
			err = e
		}
		return l
	}
	src, slot, jrn := p.GetSource(), p.GetSource().GetSlot(), p.GetJournal()
	s := State{
		Version: p.GetVersion(), Started: moment(p.GetStarted()), Ready: p.GetReady(), Reasons: p.GetReasons(),
		Source: Source{
			SystemID: src.GetSystemId(), Timeline: src.GetTimeline(), Database: src.GetDatabase(),
			ServerVersion: src.GetServerVersion(), Connected: src.GetConnected(), Reason: src.GetReason(),
			Received: lsn(src.GetReceived()), WALEnd: lsn(src.GetWalEnd()), Confirmed: moment(src.GetConfirmed()),
			ClockOffset: src.GetClockOffsetSeconds(),
			Slot: Slot{
				Name: slot.GetName(), Active: slot.GetActive(),
				RetainedBytes: slot.GetRetainedBytes(), SafeBytes: slot.GetSafeBytes(),
			},
		},
		Journal: Journal{
			Oldest: lsn(jrn.GetOldest()), Durable: lsn(jrn.GetDurable()), Bytes: jrn.GetBytes(), Segments: jrn.GetSegments(),
		},
	}
	for _, c := range p.GetCopies() {
		s.Copies = append(s.Copies, Copy{
			Name: c.GetName(), Domain: c.GetDomain(), Tier: int(c.GetTier()), TargetSeconds: c.GetTargetSeconds(),
			LagSeconds: c.GetLagSeconds(), LagBytes: c.GetLagBytes(), Position: lsn(c.GetPosition()),
			CommitTime: moment(c.GetCommitTime()), Status: c.GetStatus(), State: c.GetState(), Reason: c.GetReason(),
		})
	}
	return s, err
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
