package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"tidemark/internal/position"
)

// ErrBroken says that a line could not be written, and that none will be any more. It hides the cause from errors.Is: a
// full disk below the trace is not one below the journal.
var ErrBroken = errors.New("write trace")

// Writer writes a trace. All methods may be called at any time from any goroutine. Their error is ErrBroken.
type Writer struct {
	mu       sync.Mutex
	out      io.WriteCloser
	sequence uint64
	err      error
}

// Open appends to the trace in a file, which it creates if it does not exist, and writes the start line.
func Open(name, version string) (*Writer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	w := &Writer{out: f}
	err = endLine(f)
	if err == nil {
		err = w.write(func(h head) any { return startLine{h, os.Getpid(), version} }, "start")
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open trace: %w", err)
	}
	return w, nil
}

// endLine ends the line that a process left unfinished.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 || !info.Mode().IsRegular() {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.WriteString("\n")
	return err
}

// head is what every line has.
type head struct {
	Event    string    `json:"e"`
	Sequence uint64    `json:"seq"`
	Time     time.Time `json:"t"`
}

type startLine struct {
	head
	PID     int    `json:"pid"`
	Version string `json:"version"`
}

type placeLine struct {
	head
	End  position.LSN `json:"end"`
	File string       `json:"file"`
	Size int64        `json:"size"`
}

type fileLine struct {
	head
	File string `json:"file"`
	Size int64  `json:"size"`
}

type ackLine struct {
	head
	Flush position.LSN `json:"flush"`
	Apply position.LSN `json:"apply"`
}

// Opened says what the journal found when it was opened.
func (w *Writer) Opened(end position.LSN, file string, size int64) error {
	return w.write(func(h head) any { return placeLine{h, end, file, size} }, "open")
}

// Appended says that a transaction or a frontier was written. It is called before that is published.
func (w *Writer) Appended(end position.LSN, file string, size int64) error {
	return w.write(func(h head) any { return placeLine{h, end, file, size} }, "append")
}

// File says what was done to a file, or is about to be: event is sync, syncdir, create, truncate or remove.
func (w *Writer) File(event, file string, size int64) error {
	return w.write(func(h head) any { return fileLine{h, file, size} }, event)
}

// Acknowledging says what is about to be sent to the source.
func (w *Writer) Acknowledging(flush, apply position.LSN) error {
	return w.write(func(h head) any { return ackLine{h, flush, apply} }, "ack")
}

// write writes one line.
func (w *Writer) write(line func(head) any, event string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.sequence++
	b, err := json.Marshal(line(head{event, w.sequence, time.Now().UTC()}))
	if err == nil {
		_, err = w.out.Write(append(b, '\n'))
	}
	if err != nil {
		w.err = fmt.Errorf("%w: %s", ErrBroken, err.Error())
	}
	return w.err
}

// Close closes the file; it is called once. Its error is the one that broke the trace, if there was one.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	broken, err := w.err, w.out.Close()
	w.err = fmt.Errorf("%w: it is closed", ErrBroken)
	if broken == nil && err != nil {
		return fmt.Errorf("close trace: %w", err)
	}
	return broken
}
