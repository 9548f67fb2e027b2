package sdk_test

import (
	"context"
	"fmt"

	"github.com/passmend/passmend/plugins/sdk"
)

// printer is a whole provider: it prints in place of delivering.
type printer struct{}

func (printer) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name:           "printer",
		Version:        "0.1.0",
		Contents:       []sdk.Content{sdk.ContentMail},
		SettingsSchema: []byte(`{"type": "object", "properties": {}}`),
	}, nil
}

func (printer) Health(context.Context) error { return nil }

func (printer) Check(context.Context, sdk.Settings) error { return nil }

func (printer) Send(_ context.Context, request sdk.SendRequest) (sdk.Receipt, error) {
	if request.Mail == nil {
		return sdk.Receipt{}, &sdk.Failure{Kind: sdk.ContentRefused, Public: "only mail is printed"}
	}
	fmt.Println("a mail about", request.Mail.Subject, "with the link", request.Mail.Facts.Link)
	return sdk.Receipt{Outcome: sdk.Accepted}, nil
}

// In a main: serve.Provider(printer{}).
func ExampleProvider() {
	var provider sdk.Provider = printer{}
	receipt, err := provider.Send(context.Background(), sdk.SendRequest{Mail: &sdk.Mail{
		Subject: "your password",
		Facts:   sdk.Facts{Link: sdk.NewSecret("https://reset.example.com/r/AQID")},
	}})
	fmt.Println(receipt.Outcome, err)
	_, err = provider.Send(context.Background(), sdk.SendRequest{Event: &sdk.Event{}})
	fmt.Println(err)
	// Output:
	// a mail about your password with the link [redacted]
	// accepted <nil>
	// content-refused: only mail is printed
}
