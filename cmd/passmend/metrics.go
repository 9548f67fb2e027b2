package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/passmend/passmend/observability"
)

func metricsCommand() *cobra.Command {
	markdown := false
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "List the metrics: name, type, labels, most series, meaning",
		Long: `Lists every metric that the operations port shows with the prefix passmend_. The
number is the most series that it ever has, whatever happens: beyond it label
values become "other", and accounts "_other".`,
		Example: `  passmend metrics
  passmend metrics --markdown > docs/metrics.md`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if markdown {
				return writeMetricsPage(cmd.OutOrStdout())
			}
			return writeMetricsTable(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "as the page docs/metrics.md")
	return cmd
}

func writeMetricsTable(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tTYPE\tSERIES\tMEANING") // Flush gives the error
	for _, f := range observability.Families() {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", f.Signature(), f.Type, f.Series, f.Help)
	}
	return table.Flush()
}

func writeMetricsPage(out io.Writer) error {
	var page strings.Builder
	page.WriteString(`# Metrics

What the operations port shows at ` + "`/metrics`" + ` beside Go's own ` + "`go_*` and `process_*`" + `. This page is written by
` + "`passmend metrics --markdown`" + `.

Names and labels are a contract. Values of labels come from closed lists; what is on none is ` + "`other`" + `. ` + "`account`" + ` is an account's id for the
200 with the most requests and ` + "`_other`" + ` for the rest. Series is the most that a metric ever has, whatever happens; a histogram's edges,
sum and count are one each. Together they are at most 5,000.

| Metric | Type | Labels | Series | Meaning |
|---|---|---|---:|---|
`)
	total := 0
	for _, f := range observability.Families() {
		labels := ""
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %d | %s |\n", f.Name, f.Type, labels, f.Series, f.Help)
		total += f.Series
	}
	fmt.Fprintf(&page, "| | | | %d | |\n", total)
	_, err := io.WriteString(out, page.String())
	return err
}
