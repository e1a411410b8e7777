package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// serverLog passes the embedded server's warnings and errors on; its notices are for debugging. It remembers the last
// fatal one, which the server has no other way to report (it would exit the process).
type serverLog struct {
	log   *slog.Logger
	mu    sync.Mutex
	fatal string
}

// failed returns the fatal message as an error, nil when there was none.
func (l *serverLog) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == "" {
		return nil
	}
	return errors.New(l.fatal)
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = text
}

func (l *serverLog) Noticef(format string, v ...any) { l.debug(format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.debug(format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.debug(format, v) }

func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("embedded NATS server", "message", fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error("embedded NATS server", "message", fmt.Sprintf(format, v...))
}

func (l *serverLog) debug(format string, v []any) {
	l.log.Debug("embedded NATS server", "message", fmt.Sprintf(format, v...))
}
