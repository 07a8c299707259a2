"""`isthmus bench adapt`: live adaptation on replayed links, against all that stays as it is."""

__all__: list[str] = []
