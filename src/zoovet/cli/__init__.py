"""The command ``zoovet``: one thin file a verb. The only room that prints."""
