package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/core/httpapi/contract"
)

func contractCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "contract --url URL --account ACCOUNT",
		Short: "Hold a server against the wire contract, case by case",
		Long: `Drives a server over HTTP with every case of the Keygen-compatible contract: ours,
or the upstream's. It uses an account that is there; users and further accounts it
makes under random names, and deletes them again. It mails nobody, sends one request
at a time, and waits when the server says so: with limits on, that is some minutes.

Without tokens it tries what anybody may do. What it cannot try it names, with the
reason. --upstream is for a server that is not Passmend: what we decided otherwise is
told as ruled, with the ruling's number, and is no failure.

Exit status: 0 every case held that could be tried, 1 one did not, 2 wrong usage.`,
		Example: `  passmend contract --url https://reset.example.com --account acme
  passmend contract --url http://127.0.0.1:8080 --account demo --admin-token @admin-token --limits-off
  passmend contract --url https://reset.example.com --account acme --admin-token @admin-token --only C6/ --json report.json`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	var target contract.Target
	flags.StringVar(&target.URL, "url", "", "where the server is, as https://api.example.com")
	flags.StringVar(&target.Account, "account", "", "the id or slug of the account to work in")
	adminToken := flags.String("admin-token", "", "@FILE or @-: an API token of an admin of the account")
	operatorToken := flags.String("operator-token", "", "@FILE: an operator's token, to make accounts with")
	only := flags.String("only", "", "the cases whose names begin so, as A1/ or C6/email")
	jsonFile := flags.String("json", "", "write the report here too")
	listing := flags.Bool("list", false, "list the cases and try none")
	flags.StringVar(&target.Host, "host", "", "a host name of the account's own, which reaches the server as the URL's does")
	flags.BoolVar(&target.Upstream, "upstream", false, "the server is not Passmend: tell what a ruling decided otherwise")
	flags.BoolVar(&target.LimitsOff, "limits-off", false, "the server's limits are off, as in development: leave the cases of section G out")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cases := contract.Only(contract.Cases(), *only)
		if len(cases) == 0 {
			return usagef("--only: must be the beginning of a case's name, as 'passmend contract --list' shows them (got %q)", *only)
		}
		if *listing {
			return listCases(cmd.OutOrStdout(), cases)
		}
		for _, secret := range []struct {
			flag, argument string
			into           *string
		}{{"admin-token", *adminToken, &target.AdminToken}, {"operator-token", *operatorToken, &target.OperatorToken}} {
			if secret.argument == "" {
				continue
			}
			value, err := secretArgument(secret.flag, secret.argument, cmd.InOrStdin())
			if err != nil {
				return err
			}
			*secret.into = strings.TrimSpace(value.Reveal())
		}
		if wrong := target.Validate(); wrong != "" {
			return usagef("--%s", strings.ToLower(wrong[:1])+wrong[1:])
		}
		return holdAgainst(cmd.Context(), cmd.OutOrStdout(), target, cases, *jsonFile)
	}
	return cmd
}

func listCases(out io.Writer, cases []contract.Case) error {
	for _, c := range cases {
		if _, err := fmt.Fprintln(out, strings.TrimSpace(c.Name+"  "+c.Ruling)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%d cases\n", len(cases))
	return err
}

// holdAgainst runs the cases and tells of each as it ends.
func holdAgainst(ctx context.Context, out io.Writer, target contract.Target, cases []contract.Case, jsonFile string) error {
	report := contract.Run(ctx, target, cases, func(result contract.Result) { printContract(out, result) })
	fmt.Fprintf(out, "\n%s, account %s: %d cases held, %d did not, %d are ruled otherwise, %d could not be tried (%s)\n",
		target.URL, target.Account, report.Held, report.Failed, report.Ruled, report.Skipped, milliseconds(time.Duration(report.Seconds*float64(time.Second))))
	printSkipped(out, report)
	if jsonFile != "" {
		text, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(jsonFile, append(text, '\n'), 0o644); err != nil { //nolint:gosec // a report is for everybody to read
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %w", ctx.Err())
	case report.Failed > 0:
		return fmt.Errorf("%d of %d cases did not hold", report.Failed, len(report.Cases))
	}
	return nil
}

func printContract(out io.Writer, result contract.Result) {
	name := result.Case
	if result.Ruling != "" {
		name += " (" + result.Ruling + ")"
	}
	mark := map[contract.Verdict]string{contract.Held: "ok  ", contract.Failed: "FAIL", contract.Ruled: "rule", contract.Skipped: "skip"}[result.Verdict]
	fmt.Fprintf(out, "%s  %s\n", mark, name)
	if result.Verdict == contract.Skipped {
		return // told of together, at the end
	}
	for _, reason := range result.Reasons {
		fmt.Fprintf(out, "      %s\n", reason)
	}
}

// printSkipped tells what could not be tried, by reason.
func printSkipped(out io.Writer, report contract.Report) {
	count := make(map[string]int)
	var reasons []string
	for _, result := range report.Cases {
		if result.Verdict != contract.Skipped {
			continue
		}
		reason := strings.Join(result.Reasons, "; ")
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
		count[reason]++
	}
	for _, reason := range reasons {
		fmt.Fprintf(out, "not tried, %d: %s\n", count[reason], reason)
	}
}
