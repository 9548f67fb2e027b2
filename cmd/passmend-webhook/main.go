// Command passmend-webhook is the delivery provider that posts events to their
// endpoints; passmend starts it.
package main

import (
	"github.com/passmend/passmend/plugins/sdk/serve"
	"github.com/passmend/passmend/plugins/webhook"
)

func main() { serve.Provider(webhook.New()) }
