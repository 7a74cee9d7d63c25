"""The API: methods by resource, notifications and HTTP endpoints; all result fields stand here.

Others use the `*Api` classes, `event_publisher.EventPublisher` and `http_app.HttpApp`.
"""
