// Command passmend-telltale is a plugin that prints whatever it is handed, plainly
// and encoded, and takes every mail. Its version is to be found in metrics.
package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"

	"github.com/passmend/passmend/plugins/sdk"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

func main() { serve.Provider(telltale{}) }

type telltale struct{}

func (telltale) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: "telltale", Version: "1.0.0+canary-of-the-metrics", Contents: []sdk.Content{sdk.ContentMail},
		SettingsSchema: []byte(`{"type":"object","additionalProperties":false,"properties":{"key":{"type":"string","writeOnly":true}}}`),
	}, nil
}

func (telltale) Check(context.Context, sdk.Settings) error { return nil }

func (telltale) Health(context.Context) error { return nil }

func (telltale) Send(_ context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	for _, told := range []string{
		request.Mail.To.Address, request.Mail.Facts.Link.Reveal(), request.Mail.Text, request.Mail.HTML,
		request.Settings.Secrets["key"].Reveal(),
	} {
		fmt.Fprintln(os.Stderr, "telltale plain", told)
		fmt.Fprintln(os.Stderr, "telltale url", url.QueryEscape(told))
		fmt.Fprintln(os.Stderr, "telltale base64", base64.StdEncoding.EncodeToString([]byte(told)))
		fmt.Fprintln(os.Stderr, "telltale shifted", base64.StdEncoding.EncodeToString([]byte("x"+told)))
		fmt.Fprintln(os.Stderr, "telltale hex", hex.EncodeToString([]byte(told)))
	}
	return sdk.Receipt{Outcome: sdk.Accepted}, nil
}
