"""Pure: matches known and configured cameras to the devices that are plugged in.

`match.assign` decides for all cameras at once, `adoption.adopt` and `adoption.forget` change a
binding by hand. `identity` knows what identifies a camera, `rules` how it is recognised,
`messages` the texts.
"""
