package check

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"

	"tidemark/internal/position"

	"tidemark/integration/checker/fold"
)

const journalCheck = "journal"

// Journal reads the journal of a service that does not run, and compares it with the timeline. It is for one goroutine.
type Journal struct {
	Command  Command
	Dir      string // of the journal
	Timeline *fold.Timeline
	// Whole reads everything at each check; otherwise a check begins where the one before ended, and only checksums are verified before.
	Whole bool
	// Rand chooses, at each Check, one bit of a copy to flip, which `journal verify` must find: checksums that nobody compares prove
	// nothing. nil means never.
	Rand *rand.Rand
	Log  *slog.Logger

	checked position.LSN
	first   string // segment
	counts  map[string]int
}

// Counts returns how many checks found the journal right, and how many transactions and changes of the model's tables they saw; and how often
// a flipped bit was found in a copy.
func (c *Journal) Counts() map[string]int { return c.counts }

// journalSegment is an element of `journal verify --json`.
type journalSegment struct {
	Name        string
	After, Last position.LSN
	Problem     string
	Bytes       int64
	Unfinished  int64 `json:"unfinished_bytes"`
}

// firstSegment holds the journal's beginning, if it is still there. The tables are empty when the slot is made.
const firstSegment = "0000000000000001.tms"

// Check verifies checksums, and that the journal holds each published transaction of its range once, complete and in order, and
// nothing else. confirmed is what the slot says that was confirmed, or what the service acknowledged last: the journal must not end before it.
// Without a journal there is nothing to check, but one does not vanish.
func (c *Journal) Check(ctx context.Context, confirmed position.LSN) error {
	if files, err := filepath.Glob(filepath.Join(c.Dir, "*.tms")); err != nil || len(files) == 0 {
		if c.first != "" {
			return Violated(journalCheck, confirmed, "there is no journal any more")
		}
		return fmt.Errorf("find a journal in %s: there is none yet", c.Dir)
	}
	segments, err := c.verify(ctx, confirmed)
	if err != nil {
		return err
	}
	end := segments[len(segments)-1].Last
	if end < confirmed {
		return Violated(journalCheck, end, "it ends at %s, but %s was confirmed", end, confirmed)
	}
	if err := c.Timeline.Wait(ctx, end); err != nil {
		return err
	}
	from := max(c.checked, segments[0].After)
	if c.Whole {
		from = segments[0].After
	}
	if lost := firstChange(c.Timeline.Transactions(0, segments[0].After)); lost != nil && segments[0].Name == firstSegment {
		return Violated(journalCheck, lost.End, "transaction %s (xid %d) is before the journal's beginning at %s", lost.End, lost.XID, segments[0].After)
	}
	if err := c.compare(ctx, min(from, end), end); err != nil {
		return err
	}
	if c.Rand != nil {
		if err := c.damaged(ctx, segments, confirmed); err != nil {
			return err
		}
	}
	c.checked, c.first = end, segments[0].Name
	c.add("checks", 1)
	return nil
}

func (c *Journal) add(name string, n int) {
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[name] += n
}

// verify runs `journal verify`.
func (c *Journal) verify(ctx context.Context, confirmed position.LSN) ([]journalSegment, error) {
	code, stdout, stderr, err := c.Command(ctx, "journal", "verify", "--dir", c.Dir, "--json")
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("verify the journal: %w", err)
	}
	var segments []journalSegment
	wrong := json.Unmarshal([]byte(stdout), &segments)
	for _, s := range segments {
		if s.Problem != "" {
			return nil, Violated(journalCheck, confirmed, "segment %s, behind %s: %s", s.Name, s.After, s.Problem)
		}
	}
	switch {
	case code != 0:
		return nil, Violated(journalCheck, confirmed, "journal verify: exit code %d: %s", code, lastLine(stderr))
	case wrong != nil || len(segments) == 0:
		return nil, Violated(journalCheck, confirmed, "journal verify printed no segments: %v", wrong)
	case segments[0].Name < c.first:
		return nil, Violated(journalCheck, confirmed, "segment %s is there again, the first was %s", segments[0].Name, c.first)
	}
	for i, s := range segments {
		if i > 0 && s.After != segments[i-1].Last {
			return nil, Violated(journalCheck, s.After, "segment %s begins behind %s, the one before ends at %s", s.Name, s.After, segments[i-1].Last)
		}
	}
	return segments, nil
}

// compare dumps the transactions behind from, and compares them with the timeline.
func (c *Journal) compare(ctx context.Context, from, end position.LSN) error {
	args := []string{"journal", "dump", "--dir", c.Dir, "--format", "json"}
	if from > 0 {
		args = append(args, "--from", from.String())
	}
	code, stdout, stderr, err := c.Command(ctx, args...)
	switch {
	case err != nil:
		return fmt.Errorf("dump the journal: %w", err)
	case ctx.Err() != nil:
		return fmt.Errorf("dump the journal: %w", context.Cause(ctx))
	case code != 0:
		return Violated(journalCheck, from, "journal dump: exit code %d: %s", code, lastLine(stderr))
	}
	have, err := readDump(stdout)
	if err != nil {
		return Violated(journalCheck, from, "journal dump: %v", err)
	}
	return c.match(have, from, end)
}
