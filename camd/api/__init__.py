"""The API: methods by resource, notifications and HTTP routes.

It converts values to the fields that `camd.contract` declares. Others use the `*Api` and `*Routes`
classes, `event_publisher.EventPublisher` and `http.app.HttpApp`.
"""
