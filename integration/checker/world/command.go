package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"tidemark/internal/position"
)

// Result is how a command ended. Code is -1 when a signal ended it.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Command runs a command of the program with the service's configuration and environment to its end. The error says that it
// could not be run, or that ctx or Close ended it; an exit code other than 0 is no error.
func (s *Service) Command(ctx context.Context, args ...string) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, s.bin, append(slices.Clone(args), "-c", s.ConfigFile())...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = s.dir, &stdout, &stderr, s.environment()
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what it started
	cmd.WaitDelay = 5 * time.Second
	// As in startChild.
	runtime.LockOSThread()
	err := cmd.Run()
	runtime.UnlockOSThread()
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("run tidemark %s: %w", first(args), ctx.Err())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Result{}, fmt.Errorf("run tidemark %s: %w", first(args), err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}, nil
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// Status is what the service says of itself, as far as it is looked at.
type Status struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why it is not ready
	Source  struct {
		Connected bool         `json:"connected"`
		Reason    string       `json:"reason"`
		Received  position.LSN `json:"received"`
		WALEnd    position.LSN `json:"wal_end"`
		Slot      struct {
			Active        bool  `json:"active"`
			RetainedBytes int64 `json:"retained_bytes"`
		} `json:"slot"`
	} `json:"source"`
	Journal struct {
		Oldest   position.LSN `json:"oldest"`
		Durable  position.LSN `json:"durable"`
		Bytes    int64        `json:"bytes"`
		Segments uint32       `json:"segments"`
	} `json:"journal"`
	Copies []Copy `json:"copies"`
}

// Copy is what the service says of a copy: journal, standby, nats or archive.
type Copy struct {
	Name       string       `json:"name"`
	Position   position.LSN `json:"position"` // end LSN up to which it holds everything
	CommitTime time.Time    `json:"commit_time"`
	LagSeconds float64      `json:"lag_seconds"`
	LagBytes   int64        `json:"lag_bytes"`
	Status     string       `json:"status"`
	State      string       `json:"state"`
	Reason     string       `json:"reason"`
}

// Status asks the running service. A service that cannot be reached is an error; one that says it is breached is not.
func (s *Service) Status(ctx context.Context) (Status, error) {
	result, err := s.Command(ctx, "status", "--json")
	if err != nil {
		return Status{}, err
	}
	var status Status
	if err := json.Unmarshal([]byte(result.Stdout), &status); err != nil {
		return Status{}, fmt.Errorf("read status: exit code %d: %s", result.Code, result.Stderr)
	}
	return status, nil
}
