local room = load_room()
reap(room)
return answer(room, 'ok')
