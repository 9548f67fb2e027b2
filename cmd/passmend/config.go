package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/tenants"
)

// usageError is an error of whoever called the command: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// addSettingFlags gives a command the flags of the named settings, or of all.
func addSettingFlags(flags *pflag.FlagSet, keys ...string) {
	flags.String("config", "", "YAML file of settings (PASSMEND_CONFIG); environment and flags win over it")
	for _, s := range settings {
		if len(keys) == 0 || slices.Contains(keys, s.key) {
			help := s.help + " (" + envName(s.key) + ")"
			if s.key == "dev_admin_token" {
				continue // a secret: never an argument, which everybody on the machine can read
			}
			flags.String(flagName(s.key), s.fallback, help)
		}
	}
}

// loadConfig reads file < environment < flag. overrides win over the built-in
// defaults and nothing else: development mode has its own.
func loadConfig(cmd *cobra.Command, overrides map[string]string) (config, error) {
	values := make(map[string]string, len(settings))
	for _, s := range settings {
		values[s.key] = s.fallback
	}
	for key, value := range overrides {
		values[key] = value
	}
	k := koanf.New(".")
	path, _ := cmd.Flags().GetString("config")
	if path = or(path, os.Getenv("PASSMEND_CONFIG")); path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return config{}, usagef("--config, PASSMEND_CONFIG: must be a readable YAML file of settings: %w", err)
		}
		if unknown := unknownKeys(k.Keys()); unknown != "" {
			return config{}, usagef("%s: unknown setting %q; 'passmend serve --help' lists them, with _ for -", path, unknown)
		}
	}
	err := k.Load(env.Provider(".", env.Opt{Prefix: "PASSMEND_", TransformFunc: func(name, value string) (string, any) {
		return strings.ToLower(strings.TrimPrefix(name, "PASSMEND_")), value
	}}), nil)
	if err != nil {
		return config{}, fmt.Errorf("read environment: %w", err)
	}
	for _, s := range settings {
		if k.Exists(s.key) {
			if list := k.Strings(s.key); len(list) > 0 {
				values[s.key] = strings.Join(list, ",")
			} else {
				values[s.key] = k.String(s.key)
			}
		}
		if flag := cmd.Flags().Lookup(flagName(s.key)); flag != nil && flag.Changed {
			values[s.key] = flag.Value.String()
		}
	}
	return newConfig(func(key string) string { return values[key] })
}

func unknownKeys(keys []string) string {
	for _, key := range keys {
		if !slices.ContainsFunc(settings, func(s setting) bool { return s.key == key }) {
			return key
		}
	}
	return ""
}

func executableDir() (string, error) {
	path, err := os.Executable()
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", errors.New("--plugin-dir, PASSMEND_PLUGIN_DIR: is needed: the directory of this command is not known")
	}
	return filepath.Dir(path), nil
}

// parseMailbox reads "address" or "Name <address>".
func parseMailbox(s string) (sdk.Mailbox, bool) {
	parsed, err := mail.ParseAddress(s)
	if err != nil || !tenants.ValidAddrSpec(parsed.Address) || strings.ContainsAny(parsed.Name, "\r\n") {
		return sdk.Mailbox{}, false
	}
	return sdk.Mailbox{Name: parsed.Name, Address: parsed.Address}, true
}

func parseLevel(s string) (level slog.Level, err error) {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s) {
		return level, errors.New("unknown level")
	}
	err = level.UnmarshalText([]byte(s))
	return level, err
}
