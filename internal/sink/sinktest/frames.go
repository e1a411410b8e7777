package sinktest

import (
	"tidemark/internal/position"
	"tidemark/internal/segment"
)

// Part is one part of a transaction: for each row, the table that it goes to.
type Part []Table

// Transaction builds the parts of a transaction as a journal reader gives them. Rows are inserts that hold their own position.
func Transaction(end position.LSN, parts ...Part) []segment.Frame {
	var frames []segment.Frame
	var ordinal, total uint32
	for _, p := range parts {
		total += uint32(len(p))
	}
	for i, p := range parts {
		f := segment.Frame{
			Kind: segment.Part, First: i == 0, Last: i == len(parts)-1, Number: uint32(i),
			Xid: uint32(end), Ordinal: ordinal, Count: uint32(len(p)), Total: total,
			Commit: end - 8, End: end, Time: position.Time(end) * 1000,
		}
		for _, t := range p {
			f.Payload = segment.AppendMessage(f.Payload, t.Row(position.Position{End: end, Ordinal: ordinal}))
			f.Meta = count(f.Meta, t.ID)
			ordinal++
		}
		frames = append(frames, f)
	}
	return frames
}

func count(meta []segment.Rows, relation uint32) []segment.Rows {
	for i := range meta {
		if meta[i].Relation == relation {
			meta[i].Inserts++
			return meta
		}
	}
	return append(meta, segment.Rows{Relation: relation, Inserts: 1})
}
