package postmarktest

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"time"
)

// Authorization is the value of the field of that name in a webhook whose URL
// holds user and password.
func Authorization(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// Delivery is the body of the webhook that tells of m's delivery.
func Delivery(m Message) []byte {
	return encode(map[string]any{
		"RecordType": "Delivery", "ServerID": 1, "MessageStream": m.Stream, "MessageID": m.ID, "Recipient": m.To,
		"Tag": "", "DeliveredAt": m.At.Add(time.Second).Format(time.RFC3339Nano), "Details": "smtp;250 2.0.0 OK", "Metadata": m.Metadata,
	})
}

// Bounce is the body of the webhook that tells of a bounce of m; kind is a type of
// Postmark's Bounce API such as "HardBounce" or "SoftBounce". inactive says that
// Postmark sends no more to the address.
func Bounce(m Message, kind string, inactive bool) []byte {
	return encode(bounce(m, "Bounce", kind, inactive))
}

// SpamComplaint is the body of the webhook that tells of a complaint about m.
func SpamComplaint(m Message) []byte {
	return encode(bounce(m, "SpamComplaint", "SpamComplaint", true))
}

// Open is the body of a webhook that Passmend has no use for.
func Open(m Message) []byte {
	return encode(map[string]any{
		"RecordType": "Open", "MessageStream": m.Stream, "MessageID": m.ID, "Recipient": m.To, "FirstOpen": true,
		"ReceivedAt": m.At.Add(time.Minute).Format(time.RFC3339Nano), "UserAgent": "Mozilla/5.0", "Metadata": m.Metadata,
	})
}

func bounce(m Message, record, kind string, inactive bool) map[string]any {
	id := fnv.New32a()
	_, _ = id.Write([]byte(record + kind + m.ID)) // never fails
	return map[string]any{
		"RecordType": record, "ID": id.Sum32(), "Type": kind, "TypeCode": 1, "Name": kind, "Tag": "", "MessageID": m.ID,
		"ServerID": 1, "MessageStream": m.Stream, "Description": "what the type means", "Details": "smtp;550 5.1.1 <" + m.To + "> unknown",
		"Email": m.To, "From": m.From, "BouncedAt": m.At.Add(time.Second).Format(time.RFC3339Nano),
		"DumpAvailable": true, "Inactive": inactive, "CanActivate": true, "Subject": m.Subject, "Content": m.Text, "Metadata": m.Metadata,
	}
}

func encode(record map[string]any) []byte {
	body, err := json.Marshal(record)
	if err != nil {
		panic(err) // strings, numbers and truth values only
	}
	return body
}
