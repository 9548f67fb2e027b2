package tenants

// DefaultAccent is used by accounts that chose no colour; white text on it has a
// contrast of more than 4.5:1.
const DefaultAccent = "#1f4fd8"

// Branding is data, never markup: it is escaped wherever it is shown.
type Branding struct {
	ProductName    string // 0 to 100 characters; empty: the account's name
	Accent         string // "#rrggbb", contrast with white at least 4.5:1 (WCAG 2.2, 1.4.3)
	SupportAddress string // addr-spec shown in mails and pages; may be empty
	FromName       string // 0 to 100 characters; empty: the product name
	FromAddress    string // addr-spec; empty: the platform's sender
	LogoHash       string // hex SHA-256 of the stored PNG; empty: no logo
}
