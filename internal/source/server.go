package source

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/postgres"
)

// server is what we need to know about the primary and our role on it.
type server struct {
	version            postgres.Version
	walLevel           string
	recovery           bool
	database, role     string
	super, replication bool
	createOnDatabase   bool
	slots, maxSlots    int
	senders            int
	maxSenders         int
	syncNames          string
	syncAttached       bool // a synchronous standby is attached now
	keepSize           string
	idleTimeout        string
	prepared           int
	tls                bool
	encoding           string
}

const serverQuery = `
select current_setting('server_version_num'), current_setting('wal_level'), pg_is_in_recovery(), current_database(), current_user,
  r.rolsuper,
  r.rolreplication or exists (select from pg_roles m where m.rolname = 'rds_replication' and pg_has_role(r.oid, m.oid, 'member')),
  has_database_privilege(current_database(), 'CREATE'),
  (select count(*) from pg_replication_slots), current_setting('max_replication_slots')::int,
  (select count(*) from pg_stat_replication), current_setting('max_wal_senders')::int,
  current_setting('synchronous_standby_names'),
  exists (select from pg_stat_replication where sync_state in ('sync', 'quorum')),
  current_setting('max_slot_wal_keep_size'), coalesce(current_setting('idle_replication_slot_timeout', true), '0'),
  current_setting('max_prepared_transactions')::int,
  coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false),
  current_setting('server_encoding')
from pg_roles r where r.rolname = current_user`

func readServer(ctx context.Context, conn *pgx.Conn) (server, error) {
	var s server
	var version string
	err := conn.QueryRow(ctx, serverQuery).Scan(&version, &s.walLevel, &s.recovery, &s.database, &s.role, &s.super,
		&s.replication, &s.createOnDatabase, &s.slots, &s.maxSlots, &s.senders, &s.maxSenders, &s.syncNames,
		&s.syncAttached, &s.keepSize, &s.idleTimeout, &s.prepared, &s.tls, &s.encoding)
	if err != nil {
		return server{}, fmt.Errorf("read server settings: %w", postgres.Explain(err))
	}
	s.version, err = postgres.ParseVersion(version)
	return s, err
}

// oldest is the first major version whose pgoutput we speak; minors are the lowest without known defects that lose data
// for a consumer (release notes of 15.8, 15.13, 15.14, 15.16, 18.2 and their siblings).
const oldest = 14

var minors = map[int]int{14: 19, 15: 14, 16: 10, 17: 6, 18: 2}

func checkVersion(s server) Finding {
	f := Finding{Name: "server version", Level: OK, Text: "PostgreSQL " + s.version.String()}
	if s.version.Major() < oldest {
		f.Level, f.Text = Fail, fmt.Sprintf("the source is PostgreSQL %s, and Tidemark needs %d or newer", s.version, oldest)
		f.Fix = "upgrade the server"
		return f
	}
	if minor := int(s.version) % 10000; minor < minors[s.version.Major()] {
		f.Level = Warn
		f.Text += fmt.Sprintf(" has known defects in logical decoding that can lose changes; they are mended in %d.%d", s.version.Major(), minors[s.version.Major()])
		f.Fix = "install the newest minor release"
	}
	return f
}

func checkRecovery(s server) Finding {
	if !s.recovery {
		return Finding{Name: "primary", Level: OK, Text: "the server is a primary"}
	}
	return Finding{Name: "primary", Level: Fail, Text: "the server is in recovery: it is a standby, and nothing can be prepared there",
		Fix: "point source.url at the primary, for example with several hosts and target_session_attrs=read-write"}
}

func checkWALLevel(s server) Finding {
	if s.walLevel == "logical" {
		return Finding{Name: "wal_level", Level: OK, Text: "wal_level is logical"}
	}
	return Finding{Name: "wal_level", Level: Fail, Text: fmt.Sprintf("wal_level is %s, and logical decoding needs logical", s.walLevel),
		Fix: "ALTER SYSTEM SET wal_level = logical; and restart the server"}
}

// checkSlots needs a free slot unless ours exists already.
func checkSlots(s server, haveSlot bool) Finding {
	if haveSlot || s.slots < s.maxSlots {
		return Finding{Name: "replication slots", Level: OK, Text: fmt.Sprintf("%d of %d replication slots in use", s.slots, s.maxSlots)}
	}
	return Finding{Name: "replication slots", Level: Fail,
		Text: fmt.Sprintf("all %d replication slots are in use (max_replication_slots)", s.maxSlots),
		Fix:  fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d; and restart the server", s.maxSlots+5)}
}

// checkSenders needs a free WAL sender unless our connection is one of those in use.
func checkSenders(s server, streaming bool) Finding {
	if streaming || s.senders < s.maxSenders {
		return Finding{Name: "WAL senders", Level: OK, Text: fmt.Sprintf("%d of %d WAL senders in use", s.senders, s.maxSenders)}
	}
	return Finding{Name: "WAL senders", Level: Fail,
		Text: fmt.Sprintf("all %d WAL senders are in use (max_wal_senders)", s.maxSenders),
		Fix:  fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d; and restart the server", s.maxSenders+5)}
}

func checkReplicationRight(s server) Finding {
	if s.super || s.replication {
		return Finding{Name: "replication right", Level: OK, Text: fmt.Sprintf("role %q may replicate", s.role)}
	}
	return Finding{Name: "replication right", Level: Fail, Text: fmt.Sprintf("role %q may not replicate", s.role),
		Fix: fmt.Sprintf("ALTER ROLE %s REPLICATION;", postgres.Ident(s.role))}
}

// checkCreate needs CREATE on the database as long as there is something to create in it.
func checkCreate(s server, needed bool) Finding {
	if !needed || s.createOnDatabase {
		return Finding{Name: "create right", Level: OK, Text: fmt.Sprintf("role %q has what it needs on database %q", s.role, s.database)}
	}
	return Finding{Name: "create right", Level: Fail,
		Text: fmt.Sprintf("role %q may not create a schema and a publication in database %q", s.role, s.database),
		Fix:  fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s;", postgres.Ident(s.database), postgres.Ident(s.role))}
}

// checkSynchronous guards the creation of a slot: it waits for every running transaction, and those would wait for us,
// who are not attached yet.
func checkSynchronous(s server, name string) Finding {
	names := standbyNames(s.syncNames)
	if slices.Contains(names, strings.ToLower(name)) || (slices.Contains(names, "*") && !s.syncAttached) {
		return Finding{Name: "synchronous standby", Level: Fail,
			Text: fmt.Sprintf("synchronous_standby_names (%s) names %q, which is not attached yet: commits wait for it, and creating the slot waits for them", s.syncNames, name),
			Fix:  "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf(); and put the name back once the service runs"}
	}
	return Finding{Name: "synchronous standby", Level: OK, Text: "no commit waits for us while the slot is made"}
}

// standbyNames lists the names in synchronous_standby_names, lower case, without the words of its grammar
// (https://www.postgresql.org/docs/current/runtime-config-replication.html).
func standbyNames(setting string) []string {
	if open := strings.IndexByte(setting, '('); open >= 0 {
		setting = strings.TrimSuffix(strings.TrimSpace(setting[open+1:]), ")")
	}
	var names []string
	for s := range strings.SplitSeq(setting, ",") {
		s = strings.TrimSpace(s)
		if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
			s = strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
		}
		if s != "" {
			names = append(names, strings.ToLower(s))
		}
	}
	return names
}
