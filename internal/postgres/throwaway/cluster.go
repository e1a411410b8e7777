package throwaway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options say what server to start. The zero value is a server of the newest installed version with logical decoding.
type Options struct {
	// Major version; 0 takes the newest installed one.
	Major int
	// Parent directory of the cluster; empty takes the system's temporary directory.
	Parent string
	// Port to listen on, on 127.0.0.1; 0 takes a free one.
	Port int
	// Settings are added to postgresql.conf and override the defaults.
	Settings map[string]string
}

// Cluster is a running throw-away server.
type Cluster struct {
	// Major version of the server, its program directory and its data directory.
	Major   int
	Bin     string
	DataDir string
	Port    int

	root     string
	password string
	process  *process
}

// Superuser is the name of the role that owns a throw-away cluster.
const Superuser = "postgres"

// New makes a cluster and starts its server. The caller calls Remove.
func New(ctx context.Context, opts Options) (*Cluster, error) {
	bin, major, err := Find(ctx, opts.Major)
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp(opts.Parent, "tidemark-pg-")
	if err != nil {
		return nil, fmt.Errorf("make cluster directory: %w", err)
	}
	c := &Cluster{Major: major, Bin: bin, root: root, DataDir: filepath.Join(root, "data"), Port: opts.Port, password: rand.Text()}
	if err := c.create(ctx, opts.Settings); err != nil {
		return nil, errors.Join(err, os.RemoveAll(root))
	}
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return c, nil
}

func (c *Cluster) create(ctx context.Context, settings map[string]string) error {
	owner, err := serverOwner()
	if err != nil {
		return err
	}
	if owner != nil {
		if err := os.Chown(c.root, int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("give cluster directory to the server's user: %w", err)
		}
	}
	secret := filepath.Join(c.root, "password")
	if err := os.WriteFile(secret, []byte(c.password), 0o600); err != nil {
		return fmt.Errorf("write password file: %w", err)
	}
	if owner != nil {
		if err := os.Chown(secret, int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("give password file to the server's user: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.Bin, "initdb"), "-D", c.DataDir, "-U", Superuser, "-E", "UTF8",
		"--locale=C", "-A", "scram-sha-256", "--pwfile", secret, "-N")
	cmd.Dir = c.root
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w: %s", err, lastLine(out))
	}
	return c.configure(settings)
}

func (c *Cluster) configure(settings map[string]string) error {
	all := map[string]string{
		"listen_addresses":        "'127.0.0.1'",
		"unix_socket_directories": "''",
		"wal_level":               "logical",
		"max_wal_senders":         "20",
		"max_replication_slots":   "20",
		"fsync":                   "off", // a throw-away server need not survive the machine
		"shared_buffers":          "'128MB'",
		"timezone":                "'UTC'",
		"log_min_messages":        "warning",
	}
	maps.Copy(all, settings)
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s = %s\n", k, all[k])
	}
	f, err := os.OpenFile(filepath.Join(c.DataDir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open server configuration: %w", err)
	}
	_, err = f.WriteString(text.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write server configuration: %w", err)
	}
	return nil
}

// Start starts the server again after Stop or Kill, on the same port where that is still free.
func (c *Cluster) Start(ctx context.Context) error {
	var err error
	for range 5 {
		if c.Port == 0 {
			if c.Port, err = freePort(); err != nil {
				return err
			}
		}
		if err = c.startOnce(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (c *Cluster) startOnce(ctx context.Context) error {
	owner, err := serverOwner()
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(c.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open server log: %w", err)
	}
	defer logFile.Close()
	cmd := exec.Command(filepath.Join(c.Bin, "postgres"), "-D", c.DataDir, "-p", strconv.Itoa(c.Port))
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.root, logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	p, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	c.process = p
	return c.waitReady(ctx)
}

func (c *Cluster) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.process.done:
			return fmt.Errorf("start postgres: the server ended, see %s: %s", c.LogFile(), c.lastLog())
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w", ctx.Err())
		case <-time.After(25 * time.Millisecond):
		}
	}
}

func (c *Cluster) lastLog() string {
	b, err := os.ReadFile(c.LogFile())
	if err != nil {
		return ""
	}
	return lastLine(b)
}

// LogFile is the server's log.
func (c *Cluster) LogFile() string { return filepath.Join(c.root, "server.log") }

// URL connects to a database of the cluster as its superuser.
func (c *Cluster) URL(database string) string {
	return c.URLFor(Superuser, c.password, database)
}

// URLFor connects as another role.
func (c *Cluster) URLFor(role, password, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, password), Path: "/" + database,
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Stop shuts the server down as `pg_ctl stop -m fast` does: it waits for replication clients to confirm.
func (c *Cluster) Stop(ctx context.Context) error { return c.signal(ctx, syscall.SIGINT) }

// Crash stops the server at once, as `pg_ctl stop -m immediate` does; it recovers at the next Start.
func (c *Cluster) Crash(ctx context.Context) error { return c.signal(ctx, syscall.SIGQUIT) }

func (c *Cluster) signal(ctx context.Context, sig syscall.Signal) error {
	if c.process == nil {
		return nil
	}
	if err := c.process.signal(sig); err != nil {
		return err
	}
	select {
	case <-c.process.done:
		c.process = nil
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for postgres to stop: %w", ctx.Err())
	}
}

// Remove stops the server and removes everything.
func (c *Cluster) Remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := c.signal(ctx, syscall.SIGQUIT)
	return errors.Join(err, os.RemoveAll(c.root))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return strconv.Atoi(port)
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
