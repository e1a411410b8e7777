// Package config reads the configuration: a strict YAML file (an unknown key is an error with its line), ${NAME} from the
// environment inside values, TIDEMARK_SECTION_KEY for every key, and *_file for secrets. It says what is set; what a
// setting means, and which values are allowed, the stage that owns it says.
//
// Precedence, later wins: defaults, file, environment, command line.
package config
