package httpapi

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
)

// The description lists every route of the API and nothing else.
func TestOpenAPIListsTheRoutes(t *testing.T) {
	t.Parallel()
	document, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var described, routed []string
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	engine := gin.New()
	c := Config{BaseURL: &url.URL{Scheme: "https", Host: "passmend.example"}}
	newAPI(c, newGate(c)).register(engine)
	for _, route := range engine.Routes() {
		routed = append(routed, route.Method+" "+regexp.MustCompile(`:(\w+)`).ReplaceAllString(route.Path, "{$1}"))
	}
	// The routes of an account are there without its name too, on its own host and where
	// it is the only one (contract.md, B): described once.
	routed = slices.DeleteFunc(routed, func(route string) bool {
		return !slices.Contains(described, route) && slices.Contains(described, strings.Replace(route, " /v1/", " /v1/accounts/{account}/", 1))
	})
	slices.Sort(described)
	slices.Sort(routed)
	if diff := cmp.Diff(routed, described); diff != "" {
		t.Errorf("routes (-) and description (+): %s", diff)
	}
}
