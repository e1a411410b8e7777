package run

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// lines is a log of one JSON object a line.
type lines struct {
	mu   sync.Mutex
	file *os.File
	err  error
}

func newLines(dir, name string) (*lines, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return &lines{file: f}, nil
}

// add keeps the first error for close: a log that cannot be written is no reason to stop a run that finds something.
func (l *lines) add(v any) {
	b, err := json.Marshal(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = l.file.Write(append(b, '\n'))
	}
	if l.err == nil {
		l.err = err
	}
}

func (l *lines) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.file.Close(); l.err == nil {
		l.err = err
	}
	return l.err
}
