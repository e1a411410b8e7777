package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ErrInvalid marks every error that is the configuration's own fault (exit code 2).
var ErrInvalid = errors.New("configuration is invalid")

// Environment looks a variable up: os.LookupEnv, or a test's.
type Environment func(name string) (string, bool)

// Load reads a file (none when path is empty) over the defaults, then the environment, then secrets from files. It
// does not check what the values mean: see Validate.
func Load(path string, env Environment) (Config, error) {
	cfg := Default()
	if path != "" {
		if err := loadFile(path, env, &cfg); err != nil {
			return Config{}, err
		}
	}
	if err := override(&cfg, env); err != nil {
		return Config{}, err
	}
	if err := readSecrets(&cfg); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

func loadFile(path string, env Environment, cfg *Config) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: read file: %w", ErrInvalid, err)
	}
	name := filepath.Base(path)
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return fmt.Errorf("%w: %s: %s", ErrInvalid, name, firstLine(err))
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType {
			continue
		}
		expand := &expander{env: env}
		ast.Walk(expand, doc.Body)
		if expand.err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, name, expand.err)
		}
		// Later documents would silently override the first; a configuration is one document.
		if len(file.Docs) > 1 {
			return fmt.Errorf("%w: %s: more than one YAML document", ErrInvalid, name)
		}
		if err := yaml.NodeToValue(doc.Body, cfg, yaml.Strict()); err != nil {
			return fmt.Errorf("%w: %s: %s", ErrInvalid, name, firstLine(err))
		}
	}
	return nil
}

var position = regexp.MustCompile(`^\[(\d+):(\d+)\] *`)

// firstLine turns the library's drawing of the place into one line. The lines that it drops quote the file, which may
// hold secrets.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if m := position.FindStringSubmatch(line); m != nil {
		return "line " + m[1] + ": " + strings.TrimPrefix(line, m[0])
	}
	return line
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expander replaces ${NAME} in values, after parsing, so that a value can never become syntax.
type expander struct {
	env Environment
	err error
}

func (e *expander) Visit(node ast.Node) ast.Visitor {
	if mv, ok := node.(*ast.MappingValueNode); ok {
		ast.Walk(e, mv.Value)
		return nil
	}
	if s, ok := node.(*ast.StringNode); ok {
		s.Value = variable.ReplaceAllStringFunc(s.Value, func(m string) string {
			name := variable.FindStringSubmatch(m)[1]
			value, ok := e.env(name)
			if !ok && e.err == nil {
				e.err = fmt.Errorf("line %d: environment variable %s is not set", s.Token.Position.Line, name)
			}
			return value
		})
	}
	return e
}

// readSecrets fills in what a *_file key names.
func readSecrets(cfg *Config) error {
	for _, s := range []struct {
		key, file string
		value     *Secret
	}{
		{"source.url", cfg.Source.URLFile, &cfg.Source.URL},
		{"sinks.standby.url", cfg.Sinks.Standby.URLFile, &cfg.Sinks.Standby.URL},
	} {
		if s.file == "" {
			continue
		}
		if *s.value != "" {
			return fmt.Errorf("%w: set %s or %s_file, not both", ErrInvalid, s.key, s.key)
		}
		text, err := os.ReadFile(s.file)
		if err != nil {
			return fmt.Errorf("%w: %s_file: %w", ErrInvalid, s.key, err)
		}
		*s.value = Secret(strings.TrimSpace(string(text)))
	}
	return nil
}
