"""Who is asking: the company's own login, as signed tokens or as chat widgets do it."""
