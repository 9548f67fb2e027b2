package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// demoTime bounds the whole journey.
const demoTime = 60 * time.Second

func demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Walk the whole journey once, on a fresh database",
		Long: `Starts the service on a fresh embedded database with its SMTP provider as a
process of its own and a mailbox that takes mail over real SMTP, then forgets a
password and brings it back, step by step. Nothing is left behind.

Exit status: 0 when every step held, 1 with the step that did not.`,
		Example: `  passmend demo
  NO_COLOR=1 passmend demo`,
		Args: cobra.NoArgs,
	}
	addSettingFlags(cmd.Flags(), "plugin_dir", "log_level")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		dir, err := os.MkdirTemp("", "passmend-demo-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		defaults := devDefaults()
		defaults["log_level"] = "error"
		c, err := loadConfig(cmd, defaults)
		if err != nil {
			return err
		}
		// A fresh database and free ports, whatever else runs here.
		c.dataDir, c.databaseURL, c.keysFile = dir, "sqlite://"+dir+"/passmend.db", dir+"/keys.json"
		c.httpAddr, c.adminAddr, c.mailboxAddr, c.baseURL = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", nil
		ctx, cancel := context.WithTimeout(cmd.Context(), demoTime)
		defer cancel()
		return runDemo(ctx, c, newReport(cmd.OutOrStdout()), cmd)
	}
	return cmd
}

func runDemo(ctx context.Context, c config, out *report, cmd *cobra.Command) (err error) {
	out.title("Passmend: a forgotten password comes back")
	var d *development
	defer func() {
		if d != nil {
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
			defer cancel()
			err = errors.Join(err, d.service.stop(stop), d.mailbox.Stop(stop))
		}
	}()
	up := step{"start the service, its SMTP provider and the mailbox", func(j *journey, ctx context.Context) (err error) {
		d, err = startDevelopment(ctx, c, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if err := d.plugins.Ready(ctx); err != nil {
			return err
		}
		if _, err := d.plugins.Describe(devPlugin); err != nil {
			return err
		}
		return j.begin(d)
	}}
	j := &journey{out: out}
	begun := time.Now()
	for i, step := range append([]step{up}, journeySteps...) {
		if err := out.run(ctx, i+1, step, j); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.name, err)
		}
	}
	out.end(fmt.Sprintf("Every step held. From request to mail in the mailbox: %s. In all: %s.", milliseconds(j.mailAfter), milliseconds(time.Since(begun))))
	return nil
}
