package snapshot

// Progress is told how the copy goes on. Methods are called from several goroutines.
type Progress interface {
	// Plan is called once, before the first row.
	Plan(tables []Table)
	// Copied adds rows and bytes of COPY text that were copied of a table.
	Copied(table Table, rows, bytes int64)
	// Done says that a table is complete.
	Done(table Table)
}

type silent struct{}

func (silent) Plan([]Table)               {}
func (silent) Copied(Table, int64, int64) {}
func (silent) Done(Table)                 {}

func orSilent(p Progress) Progress {
	if p == nil {
		return silent{}
	}
	return p
}
