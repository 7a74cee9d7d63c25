"""Pure: movies made of parts of recordings: a header written anew, and the samples as they are."""
