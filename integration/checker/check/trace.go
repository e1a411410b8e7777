package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"sync"

	"tidemark/internal/position"
)

const traceCheck = "acknowledgement"

// Trace reads the trace that `tidemark run --trace` writes, from where it stopped the last time, and holds every acknowledgement against
// what had been fsynced. The trace may be read while it is written. All methods may be called at any time from any goroutine.
type Trace struct {
	File string
	Log  *slog.Logger

	mu      sync.Mutex // guards what follows
	offset  int64      // of the first byte that was not taken
	number  int        // of the last line that was taken
	torn    bool       // that line is the beginning of one
	broken  error
	counts  map[string]int
	process tracedProcess
	disk    tracedDisk
}

// tracedProcess is what is known of the process that writes.
type tracedProcess struct {
	sequence     uint64
	opened       bool
	flush, apply position.LSN
}

// traceLine is a line of the trace.
type traceLine struct {
	Event    string `json:"e"`
	Sequence uint64 `json:"seq"`
	End      position.LSN
	File     string
	Size     int64
	Flush    position.LSN
	Apply    position.LSN
}

// Acknowledged returns the highest flush position that was ever announced. A journal that ends before it has lost what it must not lose.
func (c *Trace) Acknowledged() position.LSN {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disk.acknowledged
}

// Counts returns how many lines of each kind were found right.
func (c *Trace) Counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

// Check replays what was written since the last call. After a Violation every call returns it again.
func (c *Trace) Check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return c.broken
	}
	lines, err := c.read()
	if err != nil {
		return err
	}
	for _, line := range lines {
		c.number++
		if wrong := c.line(line); wrong != "" {
			c.broken = Violated(traceCheck, c.disk.acknowledged, "line %d of the trace: %s", c.number, wrong)
			return c.broken
		}
	}
	return nil
}

// read returns the lines that are complete.
func (c *Trace) read() ([][]byte, error) {
	f, err := os.Open(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing was started yet
	}
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if _, err := f.Seek(c.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	c.offset += int64(len(b))
	if len(b) == 0 {
		return nil, nil
	}
	return bytes.Split(b[:len(b)-1], []byte("\n")), nil
}

// line takes a line and says what is wrong with it. One that cannot be read may only stand before a start: the process before was killed while it
// wrote.
func (c *Trace) line(text []byte) string {
	var l traceLine
	if err := json.Unmarshal(text, &l); err != nil {
		if c.torn {
			return fmt.Sprintf("it cannot be read, nor can the one before: %v", err)
		}
		c.torn = true
		return ""
	}
	if c.torn && l.Event != "start" {
		return "the line before cannot be read, and no process began since"
	}
	c.torn = false
	if l.Event == "start" {
		c.process = tracedProcess{}
	}
	if c.process.sequence++; l.Sequence != c.process.sequence {
		return fmt.Sprintf("it has number %d where %d is due", l.Sequence, c.process.sequence)
	}
	wrong := c.event(l)
	if wrong == "" {
		if c.counts == nil {
			c.counts = map[string]int{}
		}
		c.counts[l.Event]++
	}
	return wrong
}

func (c *Trace) event(l traceLine) string {
	switch l.Event {
	case "start":
		return ""
	case "open":
		c.process.opened = true
		return c.disk.open(l)
	case "append":
		if !c.process.opened {
			return "something is appended before the journal is open"
		}
		return c.disk.append(l)
	case "ack":
		return c.ack(l)
	}
	return c.disk.file(l)
}

// ack takes what is about to be sent.
func (c *Trace) ack(l traceLine) string {
	p := &c.process
	switch {
	case !p.opened:
		return fmt.Sprintf("%s is acknowledged before the journal is open", l.Flush)
	case l.Apply > l.Flush:
		return fmt.Sprintf("apply is %s, behind flush at %s", l.Apply, l.Flush)
	case l.Flush < p.flush:
		return fmt.Sprintf("flush goes back from %s to %s", p.flush, l.Flush)
	case l.Apply < p.apply:
		return fmt.Sprintf("apply goes back from %s to %s", p.apply, l.Apply)
	}
	first := p.flush == 0
	p.flush, p.apply = l.Flush, l.Apply
	if first && l.Flush < c.disk.acknowledged {
		return "" // a process before got further; the source knows better than to go back
	}
	return c.disk.acknowledge(l.Flush)
}
