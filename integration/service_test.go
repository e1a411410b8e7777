package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/position"
)

// service is one configuration of the program, and the running service, if there is one.
type service struct {
	dir, config string
	env         []string
	archive     string
	running     *child
	runs        int
}

// settings of a configuration; what is empty is left out.
type settings struct {
	source, slot, publication string
	standby, nats, archive    string
	env                       []string
	extra                     string // more YAML
}

func newService(t testing.TB, s settings) *service {
	t.Helper()
	dir := t.TempDir()
	v := &service{dir: dir, config: filepath.Join(dir, "tidemark.yaml"), env: s.env, archive: s.archive}
	var y strings.Builder
	fmt.Fprintf(&y, "source:\n  url: %q\n  slot: %q\n  publication: {name: %q}\n", s.source, s.slot, s.publication)
	fmt.Fprintf(&y, "journal: {dir: %q, segment_size: 8MiB}\n", filepath.Join(dir, "journal"))
	fmt.Fprintf(&y, "http: {listen: \"127.0.0.1:%d\"}\n", freePort(t))
	y.WriteString("sinks:\n")
	if s.standby != "" {
		fmt.Fprintf(&y, "  standby: {url: %q}\n", s.standby)
	}
	if s.nats != "" {
		fmt.Fprintf(&y, "  nats: {url: %q, stream: CHANGES, subject_prefix: cdc}\n", s.nats)
	} else {
		y.WriteString("  nats: {enabled: false}\n")
	}
	if s.archive != "" {
		fmt.Fprintf(&y, "  archive: {url: %q, flush_interval: 1s}\n", s.archive)
	} else {
		y.WriteString("  archive: {enabled: false}\n")
	}
	y.WriteString(s.extra)
	if err := os.WriteFile(v.config, []byte(y.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if v.running != nil {
			v.kill(t)
		}
	})
	return v
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

// try runs a command to its end.
func (v *service) try(t testing.TB, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = &stdout, &stderr, v.dir, append(os.Environ(), v.env...)
	err := cmd.Run()
	if cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("tidemark %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// must runs a command that must succeed and returns what it printed.
func (v *service) must(t testing.TB, args ...string) string {
	t.Helper()
	start := time.Now()
	r := v.try(t, args...)
	if r.code != 0 {
		t.Fatalf("tidemark %s: exit code %d: %s%s", args[0], r.code, r.stdout, r.stderr)
	}
	t.Logf("tidemark %s: %v", strings.Join(args[:min(2, len(args))], " "), time.Since(start).Round(time.Millisecond))
	return r.stdout
}

// with adds the configuration to a command.
func (v *service) with(args ...string) []string { return append(args, "-c", v.config) }

// run starts the service and returns at once.
func (v *service) run(t testing.TB) {
	t.Helper()
	v.runs++
	log, err := os.OpenFile(filepath.Join(v.dir, "service.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fmt.Fprintf(log, "--- run %d\n", v.runs)
	cmd := exec.Command(program(t), v.with("run")...)
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = log, log, v.dir, append(os.Environ(), v.env...)
	v.running = start(t, cmd)
	if v.runs == 1 {
		t.Cleanup(func() {
			if text, _ := os.ReadFile(log.Name()); t.Failed() {
				t.Logf("log of the service:\n%s", text[max(0, len(text)-12000):])
			}
		})
	}
}

func (v *service) kill(t testing.TB) {
	t.Helper()
	v.running.signal(t, syscall.SIGKILL, 10*time.Second)
	v.running = nil
}

// stop ends the service as an operator does; it must end well.
func (v *service) stop(t testing.TB) {
	t.Helper()
	v.running.signal(t, syscall.SIGTERM, time.Minute)
	if v.running.err != nil {
		t.Errorf("the service ended with %v after SIGTERM", v.running.err)
	}
	v.running = nil
}

// state is what we read of `status --json`.
type state struct {
	Ready  bool
	Copies []struct {
		Name, State, Reason, Status string
		Position                    position.LSN
		Lag                         float64 `json:"lag_seconds"`
	}
}

func (v *service) status(t testing.TB) (state, bool) {
	t.Helper()
	r := v.try(t, v.with("status", "--json")...)
	var s state
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		return state{}, false
	}
	return s, true
}

// waitReached waits until every copy says that it holds everything up to lsn.
func (v *service) waitReached(t testing.TB, lsn position.LSN, limit time.Duration, copies ...string) {
	t.Helper()
	begin := time.Now()
	var last string
	defer func() {
		if t.Failed() {
			t.Logf("last status: %s", last)
		}
	}()
	eventually(t, limit, fmt.Sprintf("%v reach %s", copies, lsn), func() bool {
		select {
		case <-v.running.done:
			t.Fatalf("the service ended: %v", v.running.err)
		default:
		}
		s, ok := v.status(t)
		if !ok {
			return false
		}
		last = fmt.Sprintf("%+v", s)
		reached := 0
		for _, want := range copies {
			for _, c := range s.Copies {
				if c.Name == want && c.Position >= lsn {
					reached++
				}
			}
		}
		return reached == len(copies)
	})
	t.Logf("%v reached %s after %v", copies, lsn, time.Since(begin).Round(time.Millisecond))
}
