// Command passmend-postmark is the delivery provider for Postmark's API; passmend
// starts it.
package main

import (
	"github.com/passmend/passmend/plugins/postmark"
	"github.com/passmend/passmend/plugins/sdk/serve"
)

func main() { serve.Provider(postmark.New()) }
