package webform_test

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/passmend/passmend/cmd/passmend/webform"
)

func TestTheFirstFormIsRead(t *testing.T) {
	t.Parallel()
	at, err := url.Parse("https://reset.example/acme/r")
	if err != nil {
		t.Fatal(err)
	}
	form, err := webform.Read(at, []byte(`<input name="before" value="x"><form action="/acme/r"><input type="hidden" name="view" value="v"><input type="password" name="p"></form>
		<form action="/acme/r/dispute"><input type="hidden" name="view" value="other"></form>`))
	if err != nil {
		t.Fatal(err)
	}
	if form.Action.String() != "https://reset.example/acme/r" {
		t.Errorf("action %s", form.Action)
	}
	if !form.Type("password", "new") || form.Type("email", "x") {
		t.Error("the kinds of inputs are not told apart")
	}
	if diff := cmp.Diff(url.Values{"view": {"v"}, "p": {"new"}}, form.Fields); diff != "" {
		t.Error(diff)
	}
	if _, err := webform.Read(at, []byte(`<input name="a">`)); err == nil {
		t.Error("a page without a form is read")
	}
}
