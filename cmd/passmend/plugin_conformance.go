package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/cmd/passmend/world"
	"github.com/passmend/passmend/plugins/host"
	"github.com/passmend/passmend/plugins/host/bundle"
	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/sdktest"
	"github.com/passmend/passmend/plugins/sdk/serve/launch"
)

func pluginTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test PATH",
		Short: "Hold a plugin's executable against the contract",
		Long: `Runs the conformance kit against an executable in any language: as a process of
its own, over mutual TLS, and at the end once in the cage in which it will live.

A plugin that hands mail to an SMTP server (its settings have host and port) gets
servers of ours. For any other a file says which settings lead where; its format is
in docs/plugins.md. Runtime paths are read from the passmend-plugin.json beside the
executable or one folder above it.

Exit status: 0 every case held, 1 one did not.`,
		Example: `  passmend plugin test bin/passmend-acme-mail --settings conformance.json --report report.json`,
		Args:    cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	settingsFile := flags.String("settings", "", "JSON file of settings and of how the service answers (default: our SMTP servers)")
	reportFile := flags.String("report", "", "write the report here, for 'passmend plugin pack'")
	withoutCage := flags.Bool("without-cage", false, "leave out the case about the cage, for a plugin that is meant to run without one")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, path, err := executableOf(args[0])
		if err != nil {
			return err
		}
		t := &conformance{name: name, path: path, out: cmd.OutOrStdout()}
		report, err := t.run(cmd.Context(), *settingsFile, *withoutCage)
		if err != nil {
			return err
		}
		if *reportFile != "" {
			if err := writeConformance(*reportFile, report); err != nil {
				return err
			}
		}
		if report.Failed > 0 {
			return fmt.Errorf("%d of %d cases did not hold", report.Failed, len(report.Cases))
		}
		return nil
	}
	return cmd
}

// conformance is one run of the kit on an executable.
type conformance struct {
	name, path string
	out        io.Writer
}

func (t *conformance) run(ctx context.Context, settingsFile string, withoutCage bool) (report sdktest.Report, err error) {
	spec, err := t.spec(ctx, settingsFile)
	if err != nil {
		return report, err
	}
	surroundings, err := world.Start(spec)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, surroundings.Close()) }()
	target := surroundings.Target(t.name, t.path)
	report = sdktest.Exercise(ctx, target, t.print)
	if ctx.Err() != nil {
		return report, fmt.Errorf("the kit was interrupted: %w", ctx.Err())
	}
	if withoutCage {
		report.Add(sdktest.Result{Case: cageCase, Verdict: sdktest.Skipped, Reasons: []string{"left out by --without-cage"}})
	} else {
		report.Add(t.inCage(ctx, target))
	}
	t.print(report.Cases[len(report.Cases)-1])
	t.summary(report)
	return report, nil
}

// spec reads the file, or guesses from what the plugin says of itself.
func (t *conformance) spec(ctx context.Context, file string) (world.Spec, error) {
	if file != "" {
		spec, err := world.Read(file)
		if err != nil {
			return spec, usagef("--settings: %w", err)
		}
		return spec, nil
	}
	ctx, cancel := context.WithTimeout(ctx, launch.StartTimeout)
	defer cancel()
	process, err := launch.Start(ctx, launch.Config{Path: t.path})
	if err != nil {
		return world.Spec{}, fmt.Errorf("%s: %w", t.path, err)
	}
	description, err := process.Describe(ctx)
	if err = errors.Join(err, process.Kill()); err != nil {
		return world.Spec{}, fmt.Errorf("%s: %w", t.path, err)
	}
	spec, err := world.Guess(description)
	if err != nil {
		return spec, usagef("--settings: is needed: %w", err)
	}
	return spec, nil
}

// print tells of a case that was tried; the others are told of together, at the end.
func (t *conformance) print(result sdktest.Result) {
	if result.Verdict == sdktest.Skipped {
		return
	}
	mark := "ok  "
	if result.Verdict == sdktest.Failed {
		mark = "FAIL"
	}
	fmt.Fprintf(t.out, "%s  %s (%s)\n", mark, result.Case, milliseconds(time.Duration(result.Seconds*float64(time.Second))))
	for _, reason := range result.Reasons {
		fmt.Fprintf(t.out, "      %s\n", reason)
	}
}

// summary tells what could not be tried, by reason, and the totals.
func (t *conformance) summary(report sdktest.Report) {
	var reasons []string
	skipped := make(map[string][]string)
	for _, result := range report.Cases {
		if result.Verdict != sdktest.Skipped {
			continue
		}
		reason := strings.Join(result.Reasons, "; ")
		if skipped[reason] == nil {
			reasons = append(reasons, reason)
		}
		skipped[reason] = append(skipped[reason], result.Case)
	}
	for _, reason := range reasons {
		fmt.Fprintf(t.out, "\nnot tried, because %s:\n", reason)
		for _, name := range skipped[reason] {
			fmt.Fprintf(t.out, "      %s\n", name)
		}
	}
	fmt.Fprintf(t.out, "\n%s %s: %d cases held, %d did not, %d could not be tried\n",
		or(report.Provider.Name, t.name), report.Provider.Version, report.Passed, report.Failed, report.Skipped)
}

const cageCase = "It works in the cage of a host"

// inCage has a host start the executable, and sends one message through it.
func (t *conformance) inCage(ctx context.Context, target sdktest.Target) (result sdktest.Result) {
	began := time.Now()
	result = sdktest.Result{Case: cageCase, Verdict: sdktest.Passed}
	if err := t.tryInCage(ctx, target); err != nil {
		result.Verdict, result.Reasons = sdktest.Failed, []string{err.Error()}
	}
	result.Seconds = time.Since(began).Seconds()
	return result
}

func (t *conformance) tryInCage(ctx context.Context, target sdktest.Target) (err error) {
	dir, err := os.MkdirTemp("", "passmend-test-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Symlink(t.path, filepath.Join(dir, bundle.Executable(t.name))); err != nil {
		return err
	}
	manifest, err := manifestOf(t.path)
	if err != nil {
		return err
	}
	config := host.Config{
		Dir: dir, Logger: slog.New(slog.DiscardHandler), Helper: host.SelfHelper,
		// The world is on ports of loopback that nobody knows before.
		AnyPort: true,
		Verify: func(string, string, [32]byte) (host.Grant, error) {
			return host.Grant{RuntimePaths: manifest.Runtime}, nil
		},
	}
	return withHost(ctx, config, func(plugins *host.Host) error {
		for _, status := range plugins.List() {
			if status.LastError != "" {
				return errors.New(status.LastError)
			}
		}
		return sendCaged(target, &hosted{plugins, t.name})
	})
}

// sendCaged runs those of the kit's cases that send one message.
func sendCaged(target sdktest.Target, provider sdk.Provider) error {
	target.Path, target.Provider = "", provider
	for _, c := range sdktest.Cases() {
		if c.Name != "Send delivers" && c.Name != "An event is posted once, to its URL" {
			continue
		}
		if result := c.Run(target); result.Verdict == sdktest.Failed {
			return fmt.Errorf("%s: %s", c.Name, strings.Join(result.Reasons, "; "))
		}
	}
	return nil
}

// manifestOf reads the manifest beside an executable or one folder above; without
// one it is empty.
func manifestOf(path string) (bundle.Manifest, error) {
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		file := filepath.Join(dir, bundle.ManifestFile)
		if _, err := os.Stat(file); err == nil {
			return bundle.ReadManifest(file)
		}
	}
	return bundle.Manifest{}, nil
}

// hosted is a plugin of a host as a provider.
type hosted struct {
	plugins *host.Host
	name    string
}

func (h *hosted) Describe(context.Context) (sdk.Description, error) {
	return h.plugins.Describe(h.name)
}

func (h *hosted) Check(ctx context.Context, settings sdk.Settings) error {
	return h.plugins.Check(ctx, h.name, settings)
}

func (h *hosted) Send(ctx context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	return h.plugins.Send(ctx, h.name, request)
}

// Health is the host's own business.
func (*hosted) Health(context.Context) error { return nil }

func writeConformance(path string, report sdktest.Report) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // a report is for everybody to read
}
