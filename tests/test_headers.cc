// Nothing but a target for the headers that all tests share, compiled once (cmake/rooms.cmake).
int main() {}
