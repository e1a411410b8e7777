package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	killTimeout      = 30 * time.Second
	terminateTimeout = 60 * time.Second // what the service may take to end on SIGTERM
)

var errTerminate = fmt.Errorf("the service did not end within %v", terminateTimeout)

// Service is the tidemark program with its configuration: the process `run`, started and ended again and again, and
// other commands beside it. All methods are for any goroutine.
type Service struct {
	bin, dir, journal string
	env               []string
	trace             bool

	life context.Context // ended by close; commands end with it
	quit context.CancelFunc

	mu    sync.Mutex
	child *child
	runs  int
}

func newService(c Config, journal string, env []string) *Service {
	s := &Service{bin: c.Bin, dir: c.Dir, journal: journal, env: env, trace: c.Trace}
	s.life, s.quit = context.WithCancel(context.Background())
	return s
}

// ConfigFile is the configuration of the service.
func (s *Service) ConfigFile() string { return filepath.Join(s.dir, "tidemark.yaml") }

// JournalDir is journal.dir of the configuration. It exists once the service ran.
func (s *Service) JournalDir() string { return s.journal }

// LogFile holds what the service wrote to its standard output and error, over all runs.
func (s *Service) LogFile() string { return filepath.Join(s.dir, "service.log") }

// TraceFile holds the trace over all runs, if Config.Trace is set. It does not lie on the journal's disk.
func (s *Service) TraceFile() string { return filepath.Join(s.dir, "service.trace") }

// Start starts `tidemark run` and returns at once. A service that runs already is an error.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(ctx.Err(), s.life.Err()); err != nil {
		return err
	}
	if s.child.running() {
		return errors.New("start the service: it runs already")
	}
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of the service: %w", err)
	}
	defer log.Close()
	s.runs++
	fmt.Fprintf(log, "--- run %d, %s\n", s.runs, time.Now().UTC().Format(time.RFC3339Nano))
	args := []string{"run", "-c", s.ConfigFile()}
	if s.trace {
		args = append(args, "--trace", s.TraceFile())
	}
	cmd := exec.Command(s.bin, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = s.dir, log, log, s.environment()
	s.child, err = startChild(cmd)
	return err
}

func (s *Service) environment() []string { return append(os.Environ(), s.env...) }

// Running says whether the process is alive, be it paused.
func (s *Service) Running() bool { return s.current().running() }

func (s *Service) current() *child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child
}

// Ended delivers how the process that was started last ended (nil is exit code 0), as soon as it has, asked for or not. It is
// nil before the first Start. Each call returns a channel of its own.
func (s *Service) Ended() <-chan error {
	c := s.current()
	if c == nil {
		return nil
	}
	ended := make(chan error, 1)
	go func() {
		<-c.done
		ended <- c.err
	}()
	return ended
}

// Kill sends SIGKILL, paused or not, and waits for the end. A service that does not run is no error.
func (s *Service) Kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	return s.current().end(ctx, syscall.SIGKILL)
}

// Terminate sends SIGTERM and waits for the end, which must come within 60 seconds and with exit code 0. A service that
// did not end in time, or when ctx does, is killed. One that does not run is an error.
func (s *Service) Terminate(ctx context.Context) error {
	c := s.current()
	if !c.running() {
		return errors.New("terminate the service: it does not run")
	}
	age := time.Since(c.started)
	limited, cancel := context.WithTimeoutCause(ctx, terminateTimeout, errTerminate)
	defer cancel()
	if err := c.end(limited, syscall.SIGTERM); err != nil {
		return errors.Join(err, s.Kill())
	}
	if c.err != nil && (age > deafFor || !deaf(c.err)) {
		return fmt.Errorf("terminate the service: %w", c.err)
	}
	return nil
}

// deafFor is how long a process may take until it listens to signals, on a machine that is busy.
const deafFor = 3 * time.Second

// deaf says that a process was ended by the signal itself: it had not come far enough to listen.
func deaf(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// Pause stops the process where it stands (SIGSTOP).
func (s *Service) Pause() error { return s.current().signal(syscall.SIGSTOP) }

// Resume lets a paused process go on (SIGCONT).
func (s *Service) Resume() error { return s.current().signal(syscall.SIGCONT) }

// close ends the service and every command.
func (s *Service) close() error {
	s.quit()
	return s.Kill()
}
