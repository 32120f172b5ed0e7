"""Operations a customer may ask for, the records they touch, and the ports to the outside world."""
