package config

import (
	"encoding"
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// The library hands text unmarshallers the file's own tokens, in which variables are not expanded; so our scalars read
// the node.

// UnmarshalYAML reads the text form.
func (d *Duration) UnmarshalYAML(node ast.Node) error { return fromNode(node, d) }

// UnmarshalYAML reads the text form.
func (s *Size) UnmarshalYAML(node ast.Node) error { return fromNode(node, s) }

// UnmarshalYAML reads the text form.
func (s *SyncInterval) UnmarshalYAML(node ast.Node) error { return fromNode(node, s) }

// UnmarshalYAML reads the value.
func (s *Secret) UnmarshalYAML(node ast.Node) error { return fromNode(node, s) }

func fromNode(node ast.Node, into encoding.TextUnmarshaler) error {
	line := node.GetToken().Position.Line
	text := ""
	switch n := node.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.IntegerNode, *ast.FloatNode:
		text = node.GetToken().Value
	case *ast.NullNode:
	default:
		return fmt.Errorf("line %d: want one value here, not a list or a map", line)
	}
	if err := into.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return nil
}
