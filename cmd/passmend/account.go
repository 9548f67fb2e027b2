package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func accountCommand() *cobra.Command {
	return group("account", "Create, change, show and delete accounts",
		accountCreateCommand(), accountUpdateCommand(), accountListCommand(), accountShowCommand(), accountDeleteCommand(), accountHostCommand())
}

// attribute ties a flag of the account commands to a field.
type attribute struct {
	flag, help string
	set        func(a *tenants.Account, value string) error
}

func text(field func(a *tenants.Account) *string) func(*tenants.Account, string) error {
	return func(a *tenants.Account, value string) error { *field(a) = value; return nil }
}

func boolean(field func(a *tenants.Account) *bool) func(*tenants.Account, string) error {
	return func(a *tenants.Account, value string) (err error) {
		if *field(a), err = strconv.ParseBool(value); err != nil {
			return errors.New("must be true or false")
		}
		return nil
	}
}

var attributes = []attribute{
	{"slug", "name in paths: 2 to 63 of a-z, 0-9 and -", text(func(a *tenants.Account) *string { return &a.Slug })},
	{"name", "name for people, 1 to 255 characters", text(func(a *tenants.Account) *string { return &a.Name })},
	{"protected", "users are created by admins only: true or false", boolean(func(a *tenants.Account) *bool { return &a.Protected })},
	{"status", "active, paused or canceled", func(a *tenants.Account, v string) error { a.Status = tenants.Status(v); return nil }},
	{"api-version", "1.0 to 1.8", text(func(a *tenants.Account) *string { return &a.APIVersion })},
	{"deliver-default", "what a request without 'deliver' means: true or false", boolean(func(a *tenants.Account) *bool { return &a.DeliverDefault })},
	{"deliver-policy", "caller, always or never", func(a *tenants.Account, v string) error { a.DeliverPolicy = tenants.DeliverPolicy(v); return nil }},
	{"link-life", "how long a link works: 10m to 24h, or seconds", setLinkLife},
	{"link-template", "where links lead instead of our page, as https://app.example/reset?token={token}", text(func(a *tenants.Account) *string { return &a.LinkTemplate })},
	{"password-minimum", "shortest new password, 6 to 64 characters", setPasswordMinimum},
	{"providers", "names of providers in order, comma-separated; empty: the platform's", func(a *tenants.Account, v string) error { a.Providers = splitList(v); return nil }},
	{"metadata", "a JSON object of at most 16 KiB, 64 keys and 4 levels; {} for none", setMetadata},
	{"product-name", "what people know the product by, 0 to 100 characters", text(func(a *tenants.Account) *string { return &a.Branding.ProductName })},
	{"accent", "colour of buttons as #rrggbb, dark enough for white text", func(a *tenants.Account, v string) error { a.Branding.Accent = strings.ToLower(v); return nil }},
	{"support-address", "address shown for help", text(func(a *tenants.Account) *string { return &a.Branding.SupportAddress })},
	{"from-name", "sender's name in mails", text(func(a *tenants.Account) *string { return &a.Branding.FromName })},
	{"from-address", "sender's address in mails", text(func(a *tenants.Account) *string { return &a.Branding.FromAddress })},
}

func setLinkLife(a *tenants.Account, value string) error {
	if seconds, err := strconv.Atoi(value); err == nil {
		a.LinkLife = time.Duration(seconds) * time.Second
		return nil
	}
	life, err := time.ParseDuration(value)
	if err != nil {
		return errors.New("must be a duration as 45m or 2h, or a number of seconds")
	}
	a.LinkLife = life
	return nil
}

func setMetadata(a *tenants.Account, value string) (err error) {
	a.Metadata, err = core.ParseMetadata([]byte(value))
	var flaw *core.FieldError
	if errors.As(err, &flaw) {
		return errors.New(flaw.Text) // the value may be long, and is not repeated
	}
	return err
}

func setPasswordMinimum(a *tenants.Account, value string) (err error) {
	if a.Password.Minimum, err = strconv.Atoi(value); err != nil {
		return errors.New("must be a whole number")
	}
	return nil
}

func addAttributeFlags(flags *pflag.FlagSet) {
	for _, attribute := range attributes {
		flags.String(attribute.flag, "", attribute.help)
	}
	flags.String("logo", "", "PNG file of at most 100 KiB; empty: none")
}

// applyAttributes sets what was given and checks the whole account. A field that
// is wrong is named by its flag.
func applyAttributes(flags *pflag.FlagSet, account *tenants.Account) error {
	for _, attribute := range attributes {
		flag := flags.Lookup(attribute.flag)
		if !flag.Changed {
			continue
		}
		if err := attribute.set(account, flag.Value.String()); err != nil {
			return usagef("--%s: %w (got %q)", attribute.flag, err, flag.Value.String())
		}
	}
	if field := (*tenants.FieldError)(nil); errors.As(account.Validate(), &field) {
		return usagef("--%s: %s", flagOfField(field.Field), field.Accept)
	}
	return nil
}

// flagOfField turns an attribute's name on the wire into its flag:
// branding.fromName is --from-name.
func flagOfField(field string) string {
	field = strings.TrimPrefix(field, "branding.")
	var flag strings.Builder
	for _, r := range field {
		if 'A' <= r && r <= 'Z' {
			flag.WriteByte('-')
			r += 'a' - 'A'
		}
		flag.WriteRune(r)
	}
	return flag.String()
}

// readLogo gives the PNG that --logo names, nil for an empty name.
func readLogo(flags *pflag.FlagSet) (png []byte, given bool, err error) {
	flag := flags.Lookup("logo")
	if !flag.Changed || flag.Value.String() == "" {
		return nil, flag.Changed, nil
	}
	raw, err := os.ReadFile(flag.Value.String())
	if err != nil {
		return nil, true, usagef("--logo: must name a readable file: %w", err)
	}
	png, err = tenants.NormaliseLogo(raw)
	if err != nil {
		return nil, true, usagef("--logo: %w", err)
	}
	return png, true, nil
}

func accountCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create [SLUG]",
		Short: "Create an account and print its id",
		Example: `  passmend account create acme --name "Acme" --accent "#7a1fa2" --logo acme.png
  passmend account create shop --name Shop --deliver-policy never`,
		Args: cobra.MaximumNArgs(1),
	}
	addAttributeFlags(cmd.Flags())
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		account := tenants.New(tenants.AccountID(newID()), "", "")
		if len(args) == 1 {
			account.Slug = args[0]
		}
		if account.Slug == "" && !cmd.Flags().Changed("slug") {
			return usagef("a slug is needed: 'passmend account create SLUG'")
		}
		account.Name = account.Slug
		logo, _, err := readLogo(cmd.Flags())
		if err != nil {
			return err
		}
		if err := applyAttributes(cmd.Flags(), &account); err != nil {
			return err
		}
		if err := d.warnProviders(ctx, cmd.ErrOrStderr(), account); err != nil {
			return err
		}
		created, err := d.store.CreateAccount(ctx, account)
		if errors.Is(err, core.ErrSlugTaken) {
			return fmt.Errorf("the slug %q belongs to another account; choose another", account.Slug)
		}
		if err != nil {
			return err
		}
		if logo != nil {
			if err := d.store.SetLogo(ctx, created.ID, logo); err != nil {
				return fmt.Errorf("account %s was created without its logo: %w", created.ID, err)
			}
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), created.ID)
		return err
	})
}

func accountUpdateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "update ACCOUNT",
		Short:   "Change an account; what is not named stays",
		Example: `  passmend account update acme --providers acme-smtp,platform --link-life 30m`,
		Args:    cobra.ExactArgs(1),
	}
	addAttributeFlags(cmd.Flags())
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		account, err := d.account(ctx, args[0])
		if err != nil {
			return err
		}
		logo, logoGiven, err := readLogo(cmd.Flags())
		if err != nil {
			return err
		}
		if err := applyAttributes(cmd.Flags(), &account); err != nil {
			return err
		}
		if err := d.warnProviders(ctx, cmd.ErrOrStderr(), account); err != nil {
			return err
		}
		if _, err := d.store.UpdateAccount(ctx, account.ID, account); err != nil {
			if errors.Is(err, core.ErrSlugTaken) {
				return fmt.Errorf("the slug %q belongs to another account; choose another", account.Slug)
			}
			return err
		}
		if logoGiven {
			return d.store.SetLogo(ctx, account.ID, logo)
		}
		return nil
	})
}

// warnProviders tells of names in the chain that mean nothing yet. It is no error:
// the provider may be added next, and its mail waits until then.
func (d *desk) warnProviders(ctx context.Context, w io.Writer, account tenants.Account) error {
	for _, name := range account.Providers {
		_, err := d.store.Provider(ctx, account.ID, name)
		if errors.Is(err, core.ErrNotFound) {
			_, err = d.store.Provider(ctx, "", name)
		}
		if errors.Is(err, core.ErrNotFound) {
			fmt.Fprintf(w, "passmend: warning: --providers: there is no provider %q yet; add it with 'passmend provider add %s'\n", name, name)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func accountListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List every account",
		Example: "  passmend account list",
		Args:    cobra.NoArgs,
	}
	return deskCommand(cmd, func(ctx context.Context, d *desk, _ []string) error {
		var rows [][]string
		err := d.allAccounts(ctx, func(a tenants.Account) error {
			rows = append(rows, []string{string(a.ID), a.Slug, string(a.Status), a.Name})
			return nil
		})
		if err != nil {
			return err
		}
		return printTable(cmd.OutOrStdout(), []string{"ID", "SLUG", "STATUS", "NAME"}, rows)
	})
}

func accountShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ACCOUNT",
		Short:   "Print an account's attributes as JSON",
		Example: "  passmend account show acme",
		Args:    cobra.ExactArgs(1),
	}
	return deskCommand(cmd, func(ctx context.Context, d *desk, args []string) error {
		a, err := d.account(ctx, args[0])
		if err != nil {
			return err
		}
		view := accountView(a)
		if view.Hosts, err = d.hosts(ctx, a.ID); err != nil {
			return err
		}
		return printJSON(cmd.OutOrStdout(), view)
	})
}

// shownAccount is an account in the names of the wire.
type shownAccount struct {
	ID              string          `json:"id"`
	Name            string          `json:"name"`
	Slug            string          `json:"slug"`
	Protected       bool            `json:"protected"`
	Status          string          `json:"status"`
	APIVersion      string          `json:"apiVersion"`
	DeliverDefault  bool            `json:"deliverDefault"`
	DeliverPolicy   string          `json:"deliverPolicy"`
	LinkLife        int             `json:"linkLife"`
	LinkTemplate    string          `json:"linkTemplate,omitempty"`
	PasswordMinimum int             `json:"passwordMinimum"`
	Providers       []string        `json:"providers"`
	Host            string          `json:"host,omitempty"`
	Hosts           []shownHost     `json:"hosts"`
	Branding        shownBranding   `json:"branding"`
	Metadata        json.RawMessage `json:"metadata"`
	Created         time.Time       `json:"created"`
	Updated         time.Time       `json:"updated"`
}

type shownBranding struct {
	ProductName    string `json:"productName"`
	Accent         string `json:"accent"`
	SupportAddress string `json:"supportAddress"`
	FromName       string `json:"fromName"`
	FromAddress    string `json:"fromAddress"`
	Logo           bool   `json:"logo"`
}

func accountView(a tenants.Account) shownAccount {
	return shownAccount{
		ID: string(a.ID), Name: a.Name, Slug: a.Slug, Protected: a.Protected,
		Status: string(a.Status), APIVersion: a.APIVersion,
		DeliverDefault: a.DeliverDefault, DeliverPolicy: string(a.DeliverPolicy),
		LinkLife: int(a.LinkLife.Seconds()), LinkTemplate: a.LinkTemplate, PasswordMinimum: a.Password.Minimum,
		Providers: append([]string{}, a.Providers...), Host: a.Host, Metadata: orEmptyObject(a.Metadata),
		Branding: shownBranding{
			ProductName: a.Branding.ProductName, Accent: a.Branding.Accent, SupportAddress: a.Branding.SupportAddress,
			FromName: a.Branding.FromName, FromAddress: a.Branding.FromAddress, Logo: a.Branding.LogoHash != "",
		},
		Created: a.Created, Updated: a.Updated,
	}
}
