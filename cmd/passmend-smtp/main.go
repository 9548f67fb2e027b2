// Command passmend-smtp is the delivery provider for SMTP servers; passmend
// starts it.
package main

import (
	"github.com/passmend/passmend/plugins/sdk/serve"
	"github.com/passmend/passmend/plugins/smtp"
)

func main() { serve.Provider(smtp.New()) }
