// startup.c - what does a tiny process pay for its allocator?
//
// Does nothing, like `true`; the launcher starts it many times. Not measured:
// the cost of the first malloc (footprint.c) or of anything after it.
int main(void) {
    return 0;
}
