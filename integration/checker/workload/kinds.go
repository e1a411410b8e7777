package workload

// kind is a kind of transaction, or of a few that belong together.
type kind struct {
	name     string
	weight   int
	sessions int // only the first so many sessions do it; 0: all
	run      func(*session) error
}

// originSessions is how many sessions have a replication origin. The server lets ten be in use by default.
const originSessions = 4

// Kinds returns the names for Config.Only.
func Kinds() []string {
	var out []string
	for _, k := range kinds() {
		out = append(out, k.name)
	}
	return out
}

func kinds() []kind {
	return []kind{
		ordinary("insert", 90, (*session).insert),
		ordinary("insert many", 60, (*session).insertMany),
		ordinary("update", 130, (*session).update),
		ordinary("update many", 50, (*session).updateMany),
		ordinary("delete", 50, (*session).remove),
		ordinary("delete many", 25, (*session).removeMany),
		ordinary("upsert", 80, (*session).upsert),
		ordinary("copy", 40, (*session).copy),
		ordinary("mixed", 120, (*session).mixed),
		ordinary("rotate keys", 30, (*session).rotate),
		ordinary("change key", 40, (*session).rekey),
		ordinary("change key of TOAST row", 25, (*session).rekeyToast),
		ordinary("TOAST unchanged", 40, (*session).toastUnchanged),
		ordinary("reuse key", 30, (*session).reuse),
		ordinary("move between partitions", 25, (*session).move),
		ordinary("foreign keys", 40, (*session).tree),
		ordinary("swap unique values", 20, (*session).swap),
		ordinary("identity column", 20, (*session).identityColumn),
		ordinary("savepoints", 40, (*session).savepoints),
		ordinary("many savepoints", 3, (*session).manySavepoints),
		ordinary("exception", 30, (*session).exception),
		ordinary("message", 20, (*session).message),
		ordinary("trim", 25, (*session).trim),
		ordinary("prune ledger", 25, (*session).prune),
		ordinary("truncate", 4, (*session).truncate),
		ordinary("truncate group", 2, (*session).truncateGroup),
		ordinary("truncate cascade", 1, (*session).truncateCascade),
		ordinary("truncate restart identity", 1, (*session).truncateRestart),
		ordinary("truncate undone", 1, (*session).truncateUndone),
		{name: "big", weight: 6, sessions: 1, run: (*session).big},
		{name: "change identity", weight: 40, sessions: 1, run: (*session).changeIdentity},
		{name: "empty", weight: 20, run: (*session).empty},
		{name: "unpublished", weight: 20, run: (*session).unpublished},
		{name: "row locks", weight: 20, run: (*session).rowLocks},
		{name: "message alone", weight: 10, run: (*session).messageAlone},
		{name: "prepared", weight: 12, run: (*session).prepared},
		{name: "prepared pair", weight: 12, run: (*session).preparedPair},
		{name: "commit times", weight: 40, sessions: originSessions, run: (*session).commitTimes},
	}
}

// ordinary is a kind that is one transaction of statements that need no answer. Some are rolled back on purpose.
func ordinary(name string, weight int, steps func(*session) []step) kind {
	return kind{name: name, weight: weight, run: func(s *session) error {
		p := plan{kind: name, steps: steps(s), last: s.r.IntN(3) == 0, rollback: s.r.IntN(30) == 0}
		if s.r.IntN(12) == 0 { // something that nobody publishes, in the middle
			p.steps = append(p.steps, step{table: "private.pile", sql: "insert into private.pile values ('x')"})
		}
		return s.do(p)
	}}
}

// deck is what a session does first: its share of all kinds, each until it has committed once, so that a short load too does everything.
func (s *session) deck() []kind {
	var out []kind
	for i, k := range s.load.kinds {
		able := s.load.cfg.Sessions
		if k.sessions > 0 {
			able = min(able, k.sessions)
		}
		if i%able == s.id {
			out = append(out, k)
		}
	}
	s.r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// choose takes from the deck now and then, as long as it lasts, and else by weight. A session that may do nothing of what is wanted
// does empty transactions.
func (s *session) choose(deck *[]kind) (k kind, dealt bool) {
	if rest := *deck; len(rest) > 0 && s.r.IntN(3) == 0 {
		*deck = rest[1:]
		return rest[0], true
	}
	total := 0
	for _, k := range s.load.kinds {
		total += s.weight(k)
	}
	if total == 0 {
		return kind{name: "empty", run: (*session).empty}, false
	}
	n := s.r.IntN(total)
	for _, k := range s.load.kinds {
		if n -= s.weight(k); n < 0 {
			return k, false
		}
	}
	return s.load.kinds[0], false // not reached: n is below the sum of the weights
}

func (s *session) weight(k kind) int {
	if k.sessions > 0 && s.id >= k.sessions {
		return 0
	}
	return k.weight
}
