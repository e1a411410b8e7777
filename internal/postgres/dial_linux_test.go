package postgres_test

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tidemark/internal/postgres"
	"tidemark/internal/postgres/pgtest"
)

// The first host of the URL does not answer, so that the options must be on a connection of a later one.
func TestKernelFindsAPeerThatIsGone(t *testing.T) {
	c := pgtest.Shared(t, 0)
	url := strings.Replace(c.URL("postgres"), "@", "@127.0.0.1:1,", 1)
	sql, err := postgres.Connect(t.Context(), url, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer sql.Close(t.Context())
	replication, err := postgres.ConnectReplication(t.Context(), url, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer replication.Close(t.Context())
	for what, c := range map[string]struct {
		conn net.Conn
		port int
		gone int
	}{"SQL": {sql.PgConn().Conn(), c.Port, 120_000}, "replication": {replication.Conn(), c.Port, 30_000}} {
		conn := c.conn
		if _, port, _ := net.SplitHostPort(conn.RemoteAddr().String()); port != strconv.Itoa(c.port) {
			t.Errorf("%s: connected to port %s", what, port)
		}
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []struct {
			name                string
			level, option, want int
		}{
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 10},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 5},
			{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, c.gone},
		} {
			var got int
			var failed error
			if err := raw.Control(func(fd uintptr) { got, failed = unix.GetsockoptInt(int(fd), o.level, o.option) }); err != nil {
				t.Fatal(err)
			}
			if failed != nil || got != o.want {
				t.Errorf("%s: %s is %d, %v; want %d", what, o.name, got, failed, o.want)
			}
		}
	}
}

func TestUnixSocketsAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	listen, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	defer listen.Close()
	cfg, err := postgres.Config("postgres:///d?host="+dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := cfg.DialFunc(t.Context(), "unix", listen.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
