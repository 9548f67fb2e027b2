package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/plugins/host/bundle"
)

// vendorTemplate is the repository of a new plugin.
//
//go:embed vendor_template
var vendorTemplate embed.FS

// sdkModule is the module that a plugin in Go requires, sdkGo the least Go it needs.
const (
	sdkModule = "github.com/passmend/passmend"
	sdkGo     = "1.26.0"
)

func pluginNewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write the repository of a new plugin in Go",
		Long: `Writes a repository that builds, passes the conformance kit and can be packed and
signed: a provider that hands mail to an HTTP API, to be changed into yours.`,
		Example: `  passmend plugin new acme-mail
  passmend plugin new acme-mail --dir ./acme --sdk ../passmend`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	dir := flags.String("dir", "", "the folder to write, new or empty (default: passmend-NAME)")
	sdkPath := flags.String("sdk", "", "a checkout of Passmend to build against, for an SDK that is not published")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		if !bundle.ValidName(name) {
			return usagef("NAME: must be 2 to 32 of a-z, 0-9 and \"-\", beginning and ending with a letter or digit (got %q)", name)
		}
		repository := repository{Name: name, Go: sdkGo, Version: sdkVersion()}
		if *sdkPath != "" {
			var err error
			if repository.SDK, err = checkout(*sdkPath); err != nil {
				return err
			}
		}
		target := or(*dir, bundle.Executable(name))
		if err := repository.write(target); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is written. Next: make -C %s\n", target, target)
		return err
	}
	return cmd
}

// releaseForm is what `go get` can find of the command's own version.
var releaseForm = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`)

// sdkVersion is the SDK of this command's own release.
func sdkVersion() string {
	if releaseForm.MatchString(version) {
		return version
	}
	return "v0.0.0"
}

// checkout gives the absolute path of a checkout of Passmend.
func checkout(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	module, err := os.ReadFile(filepath.Join(path, "go.mod"))
	if err != nil || !strings.HasPrefix(string(module), "module "+sdkModule+"\n") {
		return "", usagef("--sdk: must be a checkout of Passmend, a folder with the go.mod of %s", sdkModule)
	}
	return path, nil
}

// repository is what the template is filled with.
type repository struct {
	Name    string
	Go      string
	Version string
	SDK     string // empty: the published one
}

// write fills a folder that is new or empty.
func (r repository) write(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usagef("--dir: must be a new or an empty folder: %w", err)
	}
	if len(entries) > 0 {
		return usagef("--dir: must be a new or an empty folder; %s holds %s", dir, entries[0].Name())
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	templates, err := fs.ReadDir(vendorTemplate, "vendor_template")
	if err != nil {
		return err
	}
	for _, entry := range templates {
		if err := r.writeFile(dir, entry.Name()); err != nil {
			return err
		}
	}
	if r.SDK == "" {
		return nil
	}
	// With the checkout's own sums nothing has to be looked up, and the build needs
	// no network beyond the modules that the checkout was built with.
	sums, err := os.ReadFile(filepath.Join(r.SDK, "go.sum"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600) //nolint:gosec // the vendor says where
}

func (r repository) writeFile(dir, name string) error {
	text, err := fs.ReadFile(vendorTemplate, "vendor_template/"+name)
	if err != nil {
		return err
	}
	parsed, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return err
	}
	var filled bytes.Buffer
	if err := parsed.Execute(&filled, r); err != nil {
		return err
	}
	name = strings.TrimSuffix(name, ".tmpl")
	if name == "gitignore" {
		name = ".gitignore"
	}
	return os.WriteFile(filepath.Join(dir, name), filled.Bytes(), 0o600)
}
