package postgres

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// libpqNames maps parameters of a connection URL to the environment variables by which libpq programs take them
// (https://www.postgresql.org/docs/current/libpq-envars.html). Host, port, user, database and password come from the
// parsed URL, other parameters mean nothing to a libpq program and are left out.
var libpqNames = map[string]string{
	"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslcrl": "PGSSLCRL",
	"sslsni": "PGSSLSNI", "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION", "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
	"sslnegotiation": "PGSSLNEGOTIATION", "channel_binding": "PGCHANNELBINDING", "require_auth": "PGREQUIREAUTH",
	"gssencmode": "PGGSSENCMODE", "krbsrvname": "PGKRBSRVNAME", "connect_timeout": "PGCONNECT_TIMEOUT",
	"target_session_attrs": "PGTARGETSESSIONATTRS", "passfile": "PGPASSFILE",
}

// libpqEnv returns the environment in which a libpq program connects to the URL without any argument, so that neither
// password nor host shows in the list of processes.
func libpqEnv(connection string) ([]string, error) {
	cfg, err := pgconn.ParseConfig(connection)
	if err != nil {
		return nil, fmt.Errorf("parse connection URL: %w", err)
	}
	vars := map[string]string{"PGUSER": cfg.User, "PGDATABASE": cfg.Database, "PGPASSWORD": cfg.Password, "PGAPPNAME": "tidemark pg_dump"}
	vars["PGHOST"], vars["PGPORT"] = libpqHosts(cfg)
	for key, value := range parameters(connection) {
		if name := libpqNames[key]; name != "" {
			vars[name] = value
		}
	}
	// Whoever started us may have set options for programs of their own.
	drop := map[string]bool{"PGOPTIONS": true, "PGSERVICE": true, "PGHOSTADDR": true}
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if _, ours := vars[name]; !ours && !drop[name] {
			env = append(env, entry)
		}
	}
	for name, value := range vars {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env, nil
}

// libpqHosts lists the hosts and ports to try, in order, each pair once: pgconn lists a host again for each TLS fallback.
func libpqHosts(cfg *pgconn.Config) (hosts, ports string) {
	var hs, ps []string
	seen := map[string]bool{}
	add := func(host string, port uint16) {
		p := strconv.Itoa(int(port))
		if !seen[host+" "+p] {
			seen[host+" "+p] = true
			hs, ps = append(hs, host), append(ps, p)
		}
	}
	add(cfg.Host, cfg.Port)
	for _, f := range cfg.Fallbacks {
		add(f.Host, f.Port)
	}
	return strings.Join(hs, ","), strings.Join(ps, ",")
}

// parameters reads the parameters of a connection string in either form; it was parsed before, so that its form is good.
func parameters(connection string) map[string]string {
	if !strings.HasPrefix(connection, "postgres://") && !strings.HasPrefix(connection, "postgresql://") {
		return keywords(connection)
	}
	out := map[string]string{}
	_, query, _ := strings.Cut(connection, "?")
	query, _, _ = strings.Cut(query, "#")
	values, err := url.ParseQuery(query)
	if err != nil {
		return out
	}
	for key := range values {
		out[key] = values.Get(key)
	}
	return out
}

// keywords reads the form "key=value key='value with spaces'", with backslash as escape.
func keywords(s string) map[string]string {
	out := map[string]string{}
	for {
		key, rest, ok := strings.Cut(strings.TrimLeft(s, " \t\n"), "=")
		if !ok {
			return out
		}
		value, n := keywordValue(strings.TrimLeft(rest, " \t\n"))
		out[strings.TrimSpace(key)] = value
		rest = strings.TrimLeft(rest, " \t\n")
		s = rest[n:]
	}
}

func keywordValue(s string) (value string, n int) {
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		n++
	}
	var b strings.Builder
	for n < len(s) {
		c := s[n]
		n++
		switch {
		case c == '\\' && n < len(s):
			b.WriteByte(s[n])
			n++
		case quoted && c == '\'', !quoted && (c == ' ' || c == '\t' || c == '\n'):
			return b.String(), n
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), n
}
