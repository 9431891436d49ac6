// empty.c - a library that does nothing, to be preloaded.
void tool_empty_does_nothing(void);

void tool_empty_does_nothing(void) {}
