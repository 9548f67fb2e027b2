package sdktest

import "slices"

// Cases gives the cases in the order in which they make sense.
func Cases() []Case {
	return slices.Concat(describeCases, checkCases, mailCases, hostileCases, failureCases(), timeCases,
		eventCases, callbackCases, processCases, silenceCases)
}
