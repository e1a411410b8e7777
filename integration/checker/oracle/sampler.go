package oracle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

// SamplerConfig says what a Sampler compares. URL, Tables, Timeline and Log are required.
type SamplerConfig struct {
	URL      string // of the primary, as a role that may replicate, not through a proxy
	Tables   []fold.Table
	Timeline *fold.Timeline
	// Rows says which rows there should be, to name those that differ: Log.Rows. It may be nil.
	Rows func(table string, at position.LSN) (map[string]uint64, error)
	Seed uint64
	// Shortest and Longest are the bounds of the pause between two samples; default 1 s and 5 s.
	Shortest, Longest time.Duration
	Log               *slog.Logger
}

const (
	sampleTimeout = 10 * time.Second // creating a slot waits for every transaction that is open
	heldTimeout   = time.Second      // for the timeline, while tables are locked
	followTimeout = time.Minute      // for the timeline, when they are not
)

// Sampler compares the timeline with the primary's heap at exact LSNs.
type Sampler struct {
	cfg    SamplerConfig
	random *rand.Rand

	mu     sync.Mutex
	counts map[string]int
	number int
}

// NewSampler does not connect yet.
func NewSampler(cfg SamplerConfig) *Sampler {
	if cfg.Shortest == 0 && cfg.Longest == 0 {
		cfg.Shortest, cfg.Longest = time.Second, 5*time.Second
	}
	return &Sampler{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 0x5a3b1e)), counts: map[string]int{}}
}

// Counts says how many samples were taken, slipped (a table was truncated meanwhile) and not taken (a server was down, or a
// transaction open for too long).
func (s *Sampler) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

func (s *Sampler) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// Run takes samples until ctx ends, and then returns nil. Any error of it is an *Error.
func (s *Sampler) Run(ctx context.Context) error {
	for {
		pause := s.cfg.Shortest + time.Duration(s.random.Int64N(int64(max(1, s.cfg.Longest-s.cfg.Shortest))))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		_, err := s.Sample(ctx)
		var wrong *Error
		switch {
		case errors.As(err, &wrong):
			return err
		case err != nil && ctx.Err() == nil:
			s.cfg.Log.Debug("no sample was taken", "error", err)
		}
	}
}

// Sample takes one sample and returns its LSN. An *Error says that timeline and heap differ; any other error that no sample
// could be taken.
func (s *Sampler) Sample(ctx context.Context) (position.LSN, error) {
	at, err := s.sample(ctx)
	switch {
	case err == nil:
		s.count("samples")
	case errors.Is(err, errSlipped):
		s.count("samples that slipped")
	default:
		s.count("samples that were not taken")
	}
	return at, err
}

func (s *Sampler) sample(ctx context.Context) (position.LSN, error) {
	s.mu.Lock()
	s.number++
	slot := fmt.Sprintf("checker_sample_%d", s.number)
	s.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	snap, err := takeSnapshot(limited, s.cfg.URL, slot, s.cfg.Tables)
	if err != nil {
		return 0, err
	}
	have, compared, err := s.held(limited, snap)
	snap.close(ctx)
	if err != nil || compared {
		return snap.at, err
	}
	limited, cancel = context.WithTimeout(ctx, followTimeout)
	defer cancel()
	if err := s.cfg.Timeline.Wait(limited, snap.at); err != nil {
		return snap.at, err
	}
	return snap.at, s.compare(ctx, snap.at, have, nil)
}

// held does what needs the snapshot. Where the timeline is there at once, that is all. Where not, tables do not stay locked until it
// is: a comparison can be made without the snapshot, but name no keys.
func (s *Sampler) held(ctx context.Context, snap *snapshot) (have map[string]fold.Sum, compared bool, err error) {
	if have, err = Digest(ctx, snap.conn, s.cfg.Tables); err != nil {
		return nil, false, err
	}
	short, cancel := context.WithTimeout(ctx, heldTimeout)
	defer cancel()
	if s.cfg.Timeline.Wait(short, snap.at) != nil {
		return have, false, nil
	}
	return have, true, s.compare(ctx, snap.at, have, snap.conn)
}

func (s *Sampler) compare(ctx context.Context, at position.LSN, have map[string]fold.Sum, q Querier) error {
	want := s.cfg.Timeline.At(at)
	var wrong []string
	for _, t := range s.cfg.Tables {
		if name := t.String(); have[name] != want[name] {
			wrong = append(wrong, fmt.Sprintf("the primary has %d rows in table %s, the reference log %d (%s)", have[name].Rows, name, want[name].Rows, s.keys(ctx, t, at, q)))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return &Error{At: at, Err: errors.New(strings.Join(wrong, "; "))}
}

// keys names rows that differ, as seen from the heap.
func (s *Sampler) keys(ctx context.Context, t fold.Table, at position.LSN, q Querier) string {
	if q == nil || s.cfg.Rows == nil {
		return "keys are not known"
	}
	have, err := Rows(ctx, q, t)
	if err != nil {
		return fmt.Sprintf("keys are not known: %v", err)
	}
	folded, err := s.cfg.Rows(t.String(), at)
	if err != nil {
		return fmt.Sprintf("keys are not known: %v", err)
	}
	return "in the log " + strings.Join(FirstDifferences(have, folded), ", ")
}
