package httpapi

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// platformHost refuses, on the host of an account, what concerns all of them.
func platformHost(c *call) error {
	if c.hosted.ID != "" {
		return errNoRoute
	}
	return nil
}

// governsPlatform lets operators through.
func governsPlatform(c *call) error {
	if !c.token.Operator() {
		return errForbidden
	}
	return nil
}

// accountMember is an attribute of an account: how it is read, and who writes it
// beside operators.
type accountMember struct {
	field
	admins bool // of the account itself
	set    func(*tenants.Account, node) error
}

// accountMembers are the attributes that can be written, in the order in which they
// are judged. The address of the sender is the operator's: the mail servers send for
// it, and answer for it.
var accountMembers = []accountMember{
	{field{name: "name", kind: kindString}, true, setText(func(a *tenants.Account) *string { return &a.Name })},
	{field{name: "slug", kind: kindString}, false, setText(func(a *tenants.Account) *string { return &a.Slug })},
	{field{name: "protected", kind: kindBoolean}, true, setTruth(func(a *tenants.Account) *bool { return &a.Protected })},
	{field{name: "status", kind: kindString}, false, func(a *tenants.Account, n node) error { a.Status = tenants.Status(n.text); return nil }},
	{field{name: "apiVersion", kind: kindString}, true, setText(func(a *tenants.Account) *string { return &a.APIVersion })},
	{field{name: "deliverDefault", kind: kindBoolean}, true, setTruth(func(a *tenants.Account) *bool { return &a.DeliverDefault })},
	{field{name: "deliverPolicy", kind: kindString}, true, func(a *tenants.Account, n node) error {
		a.DeliverPolicy = tenants.DeliverPolicy(n.text)
		return nil
	}},
	{field{name: "linkLife", kind: kindInteger}, true, func(a *tenants.Account, n node) error {
		a.LinkLife = time.Duration(wholeNumber(n)) * time.Second
		return nil
	}},
	{field{name: "linkTemplate", kind: kindString, nullable: true, blank: true}, true, setText(func(a *tenants.Account) *string { return &a.LinkTemplate })},
	{field{name: "passwordMinimum", kind: kindInteger}, true, func(a *tenants.Account, n node) error {
		a.Password.Minimum = wholeNumber(n)
		return nil
	}},
	{field{name: "providers", kind: kindArray, of: kindString}, false, func(a *tenants.Account, n node) error {
		a.Providers = nil
		for _, item := range n.items {
			a.Providers = append(a.Providers, item.text)
		}
		return nil
	}},
	{field{name: "metadata", kind: kindObject, open: true}, false, func(a *tenants.Account, n node) (err error) {
		a.Metadata, err = core.ParseMetadata(n.raw)
		return err
	}},
}

// brandingMembers are those of the attribute branding.
var brandingMembers = []accountMember{
	{field{name: "productName", kind: kindString, nullable: true, blank: true}, true, setText(func(a *tenants.Account) *string { return &a.Branding.ProductName })},
	{field{name: "accent", kind: kindString}, true, func(a *tenants.Account, n node) error {
		a.Branding.Accent = strings.ToLower(n.text)
		return nil
	}},
	{field{name: "supportAddress", kind: kindString, nullable: true, blank: true}, true, setText(func(a *tenants.Account) *string { return &a.Branding.SupportAddress })},
	{field{name: "fromName", kind: kindString, nullable: true, blank: true}, true, setText(func(a *tenants.Account) *string { return &a.Branding.FromName })},
	{field{name: "fromAddress", kind: kindString, nullable: true, blank: true}, false, setText(func(a *tenants.Account) *string { return &a.Branding.FromAddress })},
}

func setText(of func(*tenants.Account) *string) func(*tenants.Account, node) error {
	return func(a *tenants.Account, n node) error { *of(a) = n.text; return nil }
}

func setTruth(of func(*tenants.Account) *bool) func(*tenants.Account, node) error {
	return func(a *tenants.Account, n node) error { *of(a) = n.truth; return nil }
}

// wholeNumber is out of every range when the number does not fit.
func wholeNumber(n node) (value int) {
	if _, err := fmt.Sscan(n.text, &value); err != nil || value > 1<<30 {
		return -1
	}
	return value
}

// accountBody is the body of POST and PATCH accounts, with what the bearer may write.
func accountBody(creating, operator bool) []field {
	permitted := func(members []accountMember) (fields []field) {
		for _, m := range members {
			if m.admins || operator {
				m.field.required = creating && m.name == "slug"
				fields = append(fields, m.field)
			}
		}
		return fields
	}
	attributes := append(permitted(accountMembers), field{name: "branding", kind: kindObject, inside: permitted(brandingMembers)})
	return resourceBody("account", creating, attributes)
}

// changeBy gives the change that a body describes, which was found good.
func changeBy(body *node) func(*tenants.Account) error {
	data, _ := body.member("data")
	attributes, _ := data.member("attributes")
	branding, _ := attributes.member("branding")
	return func(account *tenants.Account) error {
		for _, part := range []struct {
			members []accountMember
			sent    node
		}{{accountMembers, attributes}, {brandingMembers, branding}} {
			for _, m := range part.members {
				if value, there := part.sent.member(m.name); there {
					if err := m.set(account, value); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
}

func (a *api) postAccount(c *call) error {
	if err := validate(c.body, accountBody(true, true)); err != nil {
		return err
	}
	change := changeBy(c.body)
	created, err := a.c.AccountAdmin.Create(c.Request.Context(), func(account *tenants.Account) error {
		err := change(account)
		if account.Name == "" {
			account.Name = account.Slug
		}
		return err
	})
	if err != nil {
		return err
	}
	shown := accountResource(created)
	c.Header("Location", shown.Links.Self)
	return c.write(http.StatusCreated, document{Data: shown})
}

// listAccounts shows every account, the oldest first.
func (a *api) listAccounts(c *call) error {
	query := c.Request.URL.Query()
	wanted, err := parseCursorPage(query)
	if err != nil {
		return err
	}
	found, next, err := turn(wanted, func(account tenants.Account) string { return string(account.ID) },
		func(after string, limit int) ([]tenants.Account, error) {
			return a.c.AccountAdmin.List(c.Request.Context(), tenants.AccountID(after), limit)
		})
	if err != nil {
		return err
	}
	list := make([]any, len(found))
	for i, account := range found {
		list[i] = accountResource(account)
	}
	return c.write(http.StatusOK, document{Data: list, Links: wanted.links("/v1/accounts", nil, next)})
}

// getAccount shows an account and what verifies its signatures (contract.md, A8).
func (a *api) getAccount(c *call) error {
	keys, err := a.c.Signatures.PublicKeys(c.Request.Context(), c.account.ID)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, document{Data: accountResource(c.account), Meta: accountKeys{
		PublicKey: string(keys.RSA2048),
		Keys: publicKeys{
			// The hexadecimal text and not the key itself, as clients expect.
			Ed25519: base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(keys.Ed25519))),
			RSA2048: base64.StdEncoding.EncodeToString(keys.RSA2048),
			ECDSA:   base64.StdEncoding.EncodeToString(keys.ECDSA),
		},
	}})
}

type accountKeys struct {
	PublicKey string     `json:"publicKey"` // PEM of the RSA key
	Keys      publicKeys `json:"keys"`
}

type publicKeys struct {
	Ed25519 string `json:"ed25519"`
	RSA2048 string `json:"rsa2048"`
	ECDSA   string `json:"ecdsa"`
}

func (a *api) patchAccount(c *call) error {
	if err := validate(c.body, accountBody(false, c.token.Operator())); err != nil {
		return err
	}
	data, _ := c.body.member("data")
	if id, sent := data.member("id"); sent && !samePathID(id.text, string(c.account.ID)) {
		return badMember("/data/id", "does not name the account of the path")
	}
	changed, err := a.c.AccountAdmin.Change(c.Request.Context(), c.account.ID, changeBy(c.body))
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, document{Data: accountResource(changed)})
}

func (a *api) deleteAccount(c *call) error {
	if err := a.c.AccountAdmin.Delete(c.Request.Context(), c.account.ID); err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

// accountAttributes are contract.md, A8, and what is ours.
type accountAttributes struct {
	Name            string             `json:"name"`
	Slug            string             `json:"slug"`
	APIVersion      string             `json:"apiVersion"`
	Status          tenants.Status     `json:"status"`
	Protected       bool               `json:"protected"`
	DeliverDefault  bool               `json:"deliverDefault"`
	DeliverPolicy   string             `json:"deliverPolicy"`
	LinkLife        int                `json:"linkLife"` // seconds
	LinkTemplate    *string            `json:"linkTemplate"`
	PasswordMinimum int                `json:"passwordMinimum"`
	Providers       []string           `json:"providers"`
	Host            *string            `json:"host"`
	Branding        brandingAttributes `json:"branding"`
	Metadata        json.RawMessage    `json:"metadata"`
	Created         string             `json:"created"`
	Updated         string             `json:"updated"`
}

type brandingAttributes struct {
	ProductName    *string `json:"productName"`
	Accent         string  `json:"accent"`
	SupportAddress *string `json:"supportAddress"`
	FromName       *string `json:"fromName"`
	FromAddress    *string `json:"fromAddress"`
	Logo           bool    `json:"logo"`
}

func accountResource(a tenants.Account) resource[accountAttributes] {
	metadata := a.Metadata
	if len(metadata) == 0 {
		metadata = json.RawMessage(`{}`)
	}
	self := accountPath(a.ID)
	return resource[accountAttributes]{
		ID: string(a.ID), Type: "accounts",
		Attributes: accountAttributes{
			Name: a.Name, Slug: a.Slug, APIVersion: a.APIVersion, Status: a.Status, Protected: a.Protected,
			DeliverDefault: a.DeliverDefault, DeliverPolicy: string(a.DeliverPolicy),
			LinkLife: int(a.LinkLife.Seconds()), LinkTemplate: orNull(a.LinkTemplate), PasswordMinimum: a.Password.Minimum,
			Providers: append([]string{}, a.Providers...), Host: orNull(a.Host),
			Branding: brandingAttributes{
				ProductName: orNull(a.Branding.ProductName), Accent: a.Branding.Accent, SupportAddress: orNull(a.Branding.SupportAddress),
				FromName: orNull(a.Branding.FromName), FromAddress: orNull(a.Branding.FromAddress), Logo: a.Branding.LogoHash != "",
			},
			Metadata: metadata, Created: stamp(a.Created), Updated: stamp(a.Updated),
		},
		Relationships: map[string]relationship{
			"users":             {Links: &relatedLink{self + "/users"}},
			"tokens":            {Links: &relatedLink{self + "/tokens"}},
			"password-requests": {Links: &relatedLink{self + "/password-requests"}},
			"webhook-endpoints": {Links: &relatedLink{self + "/webhook-endpoints"}},
			"webhook-events":    {Links: &relatedLink{self + "/webhook-events"}},
		},
		Links: &selfLink{self},
	}
}
