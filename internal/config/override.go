package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
)

// Prefix begins the name of every environment variable that sets a key.
const Prefix = "TIDEMARK"

// override sets every key whose variable is in the environment: source.url is TIDEMARK_SOURCE_URL. Lists and maps take
// YAML's flow form.
func override(cfg *Config, env Environment) error {
	return overrideStruct(reflect.ValueOf(cfg).Elem(), Prefix, env)
}

func overrideStruct(v reflect.Value, path string, env Environment) error {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if err := overrideField(v.Field(i), path+"_"+strings.ToUpper(tag), env); err != nil {
			return err
		}
	}
	return nil
}

func overrideField(field reflect.Value, name string, env Environment) error {
	if field.Kind() == reflect.Struct {
		return overrideStruct(field, name, env)
	}
	text, ok := env(name)
	if !ok {
		return nil
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](field.Addr()); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
		}
		return nil
	}
	if field.Kind() == reflect.String {
		field.SetString(text)
		return nil
	}
	fresh := reflect.New(field.Type())
	if err := yaml.UnmarshalWithOptions([]byte(text), fresh.Interface(), yaml.Strict()); err != nil {
		return fmt.Errorf("%w: %s: %s", ErrInvalid, name, firstLine(err))
	}
	field.Set(fresh.Elem())
	return nil
}
