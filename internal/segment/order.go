package segment

import (
	"fmt"
	"math"

	"tidemark/internal/position"
)

// order follows the rules by which frames stand behind each other. It is a plain value: a copy tries a frame out.
type order struct {
	last   position.LSN // end LSN of the transaction before
	open   bool         // parts of a transaction stand behind last
	part   Frame        // the latest part of the open transaction, without Meta and Payload
	sealed bool
}

// next returns the order behind f, or what is wrong with f here.
func (o order) next(f *Frame) (order, string) {
	if o.sealed {
		return o, "frame behind the seal"
	}
	switch f.Kind {
	case Definition:
		return o, plainReason(f)
	case Seal:
		if o.open {
			return o, "seal within a transaction"
		}
		o.sealed = true
		return o, plainReason(f)
	case Part:
		return o.nextPart(f)
	}
	return o, "frame of an unknown kind"
}

func plainReason(f *Frame) string {
	if f.First || f.Last || f.Xid|f.Number|f.Ordinal|f.Count != 0 || f.Commit|f.End != 0 || f.Time != 0 {
		return "definition or seal with fields of a part"
	}
	return ""
}

func (o order) nextPart(f *Frame) (order, string) {
	if reason := o.partReason(f); reason != "" {
		return o, reason
	}
	o.open, o.part = !f.Last, *f
	o.part.Meta, o.part.Payload = nil, nil
	if f.Last {
		o.last = f.End
	}
	return o, ""
}

func (o order) partReason(f *Frame) string {
	p := &o.part
	switch {
	case f.First == o.open:
		if o.open {
			return "first part of a transaction while another is open"
		}
		return "part of a transaction without its first part"
	case !o.open && (f.Number != 0 || f.Ordinal != 0):
		return "first part with a number or ordinal above 0"
	case o.open && (f.Number != p.Number+1 || f.Ordinal != p.Ordinal+p.Count):
		return "part that does not follow the one before"
	case o.open && (f.Xid != p.Xid || f.Commit != p.Commit || f.Time != p.Time):
		return "part of another transaction than the one before"
	case uint64(f.Ordinal)+uint64(f.Count) > math.MaxUint32:
		return "transaction with more changes than ordinals"
	case f.Last && f.End <= o.last:
		return fmt.Sprintf("transaction that ends at %s behind one that ends at %s", f.End, o.last)
	case f.Last && f.Commit >= f.End:
		return fmt.Sprintf("transaction that ends at %s before its commit record at %s", f.End, f.Commit)
	}
	return ""
}
